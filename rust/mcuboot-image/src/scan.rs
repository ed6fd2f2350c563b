// SPDX-License-Identifier: Apache-2.0
//! A walk over an image that lies anywhere, without reading it whole.

use crate::header::Flaw;
use crate::{Header, ImageError, tlv};

/// Walks over header and TLVs of an image that lies anywhere (flash, file), in one pass and constant memory,
/// never reading at or beyond `limit`.
///
/// Sans-IO: [`step`](Self::step) says which bytes it wants, [`feed`](Self::feed) takes them,
/// [`finish`](Self::finish) tells the end of it. It checks structure only: that the hash is right needs the
/// bytes of the body ([`Summary::hashed_len`] of them), and that they are the right length is the caller's to
/// say ([`Summary::total_len`] against what it expected).
///
/// ```
/// # fn read(_: u32, _: &mut [u8]) {}
/// # fn check(limit: u32) -> Result<mcuboot_image::Summary, mcuboot_image::ImageError> {
/// use mcuboot_image::{Scan, Step};
/// let mut scan = Scan::new(limit);
/// let mut buffer = [0; Scan::READ_MAX];
/// while let Step::Read { offset, len } = scan.step() {
///     let part = buffer.get_mut(..len as usize).unwrap_or_default();
///     read(offset, part);
///     scan.feed(part)?;
/// }
/// scan.finish()
/// # }
/// # assert!(check(31).is_err());
/// ```
// What every step touches comes first, where Thumb's short loads and stores reach it.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Scan {
    state: State,
    protected: bool,
    have_hash: bool,
    /// The head read last: of a TLV its type and length, of an area its magic and size, and the image's magic.
    head: (u16, u16),
    /// Next byte to look at.
    cursor: u32,
    /// End of the area under the cursor.
    end: u32,
    limit: u32,
    summary: Summary,
    #[cfg(feature = "signatures")]
    wanted_key: Option<[u8; 32]>,
}

/// What a [`Scan`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `len` bytes (1..=[`Scan::READ_MAX`]) from `offset` of the image; give them to [`Scan::feed`].
    Read {
        /// Bytes from the image's first.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Nothing: ask [`Scan::finish`].
    Done,
}

/// What a [`Scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The header.
    pub header: Header,
    /// Hash the image claims (SHA-256 TLV 0x10); it covers the first `hashed_len` bytes.
    pub image_hash: [u8; 32],
    /// Length of header, body and protected TLVs.
    pub hashed_len: u32,
    /// Length of the whole image: `hashed_len` and the unprotected TLVs.
    pub total_len: u32,
    /// Hash of the key that made `signature`, if the image tells.
    #[cfg(feature = "signatures")]
    pub key_hash: Option<[u8; 32]>,
    /// The first signature, or the first one by the key asked for with [`Scan::for_key`].
    #[cfg(feature = "signatures")]
    pub signature: Option<SignatureRef>,
    /// Security counter (TLV 0x50).
    pub security_counter: Option<u32>,
    /// UUID of the vendor (TLV 0x74).
    pub vendor: Option<[u8; 16]>,
    /// UUID of the device class (TLV 0x75).
    pub class: Option<[u8; 16]>,
    /// Number of dependencies on other images (TLV 0x40), at most 255.
    pub dependencies: u8,
    /// Number of signatures, at most 255.
    #[cfg(feature = "signatures")]
    pub signatures: u8,
    /// First unprotected TLV that MCUboot refuses when built with its allow list (Zephyr's default).
    pub unlisted: Option<u16>,
}

/// Where a signature lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureRef {
    /// Its algorithm.
    pub kind: SignatureKind,
    /// Bytes from the image's first.
    pub offset: u32,
    /// Number of bytes; for ECDSA and Ed25519 at most [`SIGNATURE_MAX`].
    pub len: u16,
}

/// Algorithm of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    /// ECDSA on P-256 over the image hash, DER (TLV 0x22).
    EcdsaP256,
    /// Ed25519 over the 32 bytes of the image hash (TLV 0x24).
    Ed25519,
    /// Another TLV that is a signature, for example RSA.
    Other(u16),
}

/// Longest ECDSA P-256 or Ed25519 signature in bytes.
pub const SIGNATURE_MAX: usize = 72;

/// [`HEADER_SIZE`](crate::HEADER_SIZE), as lengths of images are counted.
const HEADER_LEN: u32 = 32;

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    AreaHead,
    TlvHead,
    Value,
    Done,
    Failed(Fault),
}

/// What is wrong at the cursor. The numbers that an [`ImageError`] names beside it stand in the scan, so that a walk
/// does not have to carry them: a device asks for none of them.
#[derive(Clone, Copy, Debug)]
enum Fault {
    TooShort,
    Header(Flaw),
    PastEnd,
    AreaMagic,
    AreaSize,
    ProtectedSize,
    TlvOverrun,
    TlvLength,
    Duplicate,
    Misplaced,
    HashUnsupported,
    HashMissing,
    Misfed,
}

impl Scan {
    /// Most bytes one step asks for.
    pub const READ_MAX: usize = 32;

    /// A scan of an image of which there are at most `limit` bytes: the length of the file, or the room in the
    /// slot.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        let header = Header {
            load_addr: 0,
            header_size: 0,
            protected_size: 0,
            image_size: 0,
            flags: 0,
            version: crate::ImageVersion::new(0, 0, 0, 0),
        };
        Self {
            limit,
            #[cfg(feature = "signatures")]
            wanted_key: None,
            state: if limit < HEADER_LEN { State::Failed(Fault::TooShort) } else { State::Header },
            head: (0, 0),
            cursor: 0,
            end: 0,
            protected: false,
            have_hash: false,
            summary: Summary {
                header,
                image_hash: [0; 32],
                hashed_len: 0,
                total_len: 0,
                #[cfg(feature = "signatures")]
                key_hash: None,
                #[cfg(feature = "signatures")]
                signature: None,
                security_counter: None,
                vendor: None,
                class: None,
                dependencies: 0,
                #[cfg(feature = "signatures")]
                signatures: 0,
                unlisted: None,
            },
        }
    }

    /// As [`new`](Self::new), but of several signatures the one is wanted that follows this key hash, as
    /// MCUboot picks it.
    #[cfg(feature = "signatures")]
    #[must_use]
    pub const fn for_key(limit: u32, key_hash: [u8; 32]) -> Self {
        let mut scan = Self::new(limit);
        scan.wanted_key = Some(key_hash);
        scan
    }

    /// Says which bytes are wanted next; stays the same until they are fed.
    #[must_use]
    pub const fn step(&self) -> Step {
        match self.wanted() {
            0 => Step::Done,
            len => Step::Read { offset: self.cursor, len },
        }
    }

    /// The number of bytes wanted next. Every value that is wanted has some.
    const fn wanted(&self) -> u32 {
        match self.state {
            State::Header => HEADER_LEN,
            State::AreaHead | State::TlvHead => tlv::HEAD_SIZE,
            State::Value => self.head.1 as u32,
            State::Done | State::Failed(_) => 0,
        }
    }

    /// Takes the bytes that [`step`](Self::step) asked for.
    ///
    /// # Errors
    /// What is wrong with the image; the scan is over then. [`ImageError::Misfed`] for a wrong number of bytes.
    #[inline(always)]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.take(bytes);
        match self.state {
            // Inlined: who only asks whether there was an error does not pay for its making.
            State::Failed(fault) => Err(self.error(fault)),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        self.state = self.advance(bytes).unwrap_or_else(State::Failed);
    }

    /// What was found, once [`step`](Self::step) says [`Step::Done`] and there was no error.
    #[must_use]
    pub const fn summary(&self) -> Option<&Summary> {
        match self.state {
            State::Done => Some(&self.summary),
            _ => None,
        }
    }

    /// What was found.
    ///
    /// # Errors
    /// The error that ended the scan; [`ImageError::Misfed`] if it still wants bytes.
    pub const fn finish(&self) -> Result<Summary, ImageError> {
        match self.state {
            State::Done => Ok(self.summary),
            State::Failed(fault) => Err(self.error(fault)),
            _ => Err(ImageError::Misfed),
        }
    }

    /// The fault with all that belongs to it.
    #[inline(always)]
    const fn error(&self, fault: Fault) -> ImageError {
        let (offset, limit, header) = (self.cursor, self.limit, self.summary.header);
        let (kind, len) = self.head;
        match fault {
            Fault::TooShort => ImageError::TooShort,
            Fault::Header(flaw) => flaw.error((len as u32) << 16 | kind as u32, &header),
            Fault::PastEnd => ImageError::PastEnd { offset, limit },
            Fault::AreaMagic => ImageError::AreaMagic { offset, found: kind },
            Fault::AreaSize => ImageError::AreaSize { offset, size: len },
            Fault::ProtectedSize => {
                let area = if kind == tlv::PROTECTED_MAGIC { len } else { 0 };
                ImageError::ProtectedSize { offset, header: header.protected_size, area }
            }
            Fault::TlvOverrun => ImageError::TlvOverrun { offset, end: self.end },
            Fault::TlvLength => ImageError::TlvLength { offset, kind, len },
            Fault::Duplicate => ImageError::Duplicate { offset, kind },
            Fault::Misplaced => ImageError::Misplaced { offset, kind },
            Fault::HashUnsupported => ImageError::HashUnsupported { offset, kind },
            Fault::HashMissing => ImageError::HashMissing { offset: self.summary.hashed_len },
            Fault::Misfed => ImageError::Misfed,
        }
    }

    /// Looks at the bytes that were wanted, and says what comes next.
    fn advance(&mut self, bytes: &[u8]) -> Result<State, Fault> {
        let len = self.wanted();
        if len == 0 || usize::try_from(len) != Ok(bytes.len()) {
            return Err(Fault::Misfed);
        }
        if matches!(self.state, State::Value) {
            self.value(bytes);
            return self.next_tlv(len);
        }
        let &[a, b, c, d, ..] = bytes else { return Err(Fault::Misfed) };
        self.head = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        match self.state {
            State::Header => self.header(bytes),
            State::AreaHead => self.area_head(),
            _ => self.tlv_head(),
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<State, Fault> {
        let (magic, header) = Header::read(bytes).ok_or(Fault::Misfed)?;
        self.summary.header = header;
        header.check(magic).map_err(Fault::Header)?;
        let end = header.hashed_len().zip(header.tlv_offset());
        let (hashed_len, tlv_offset) = end.ok_or(Fault::PastEnd)?;
        self.summary.hashed_len = hashed_len;
        self.protected = header.protected_size != 0;
        self.cursor = tlv_offset;
        self.open_area()
    }

    /// Wants the head of the area at the cursor.
    fn open_area(&self) -> Result<State, Fault> {
        self.within(tlv::HEAD_SIZE).map(|_| State::AreaHead)
    }

    /// The end of `len` bytes from the cursor, if there are so many.
    fn within(&self, len: u32) -> Result<u32, Fault> {
        self.cursor.checked_add(len).filter(|end| *end <= self.limit).ok_or(Fault::PastEnd)
    }

    fn area_head(&mut self) -> Result<State, Fault> {
        let (magic, size) = self.head;
        let header = self.summary.header.protected_size;
        match (self.protected, magic) {
            (true, tlv::PROTECTED_MAGIC) if size == header => {}
            (false, tlv::AREA_MAGIC) => {}
            // The header has a protected area and there is none or another one, or the other way round.
            (true, tlv::PROTECTED_MAGIC | tlv::AREA_MAGIC) => return Err(Fault::ProtectedSize),
            (false, tlv::PROTECTED_MAGIC) if header == 0 => return Err(Fault::ProtectedSize),
            _ => return Err(Fault::AreaMagic),
        }
        if u32::from(size) < tlv::HEAD_SIZE {
            return Err(Fault::AreaSize);
        }
        self.end = self.within(u32::from(size))?;
        self.next_tlv(tlv::HEAD_SIZE)
    }

    /// Moves on by `len` bytes, which lie within the area.
    #[inline(never)]
    fn next_tlv(&mut self, len: u32) -> Result<State, Fault> {
        self.cursor = self.cursor.wrapping_add(len);
        if self.cursor < self.end {
            self.room(tlv::HEAD_SIZE)?;
            return Ok(State::TlvHead);
        }
        if self.protected {
            self.protected = false;
            return self.open_area();
        }
        self.summary.total_len = self.end;
        if !self.have_hash {
            return Err(Fault::HashMissing);
        }
        Ok(State::Done)
    }

    /// Checks that the area has `len` more bytes at the cursor.
    fn room(&self, len: u32) -> Result<(), Fault> {
        if len <= self.end.saturating_sub(self.cursor) { Ok(()) } else { Err(Fault::TlvOverrun) }
    }

    fn tlv_head(&mut self) -> Result<State, Fault> {
        let (kind, len) = self.head;
        let whole = u32::from(len).wrapping_add(tlv::HEAD_SIZE);
        self.room(whole)?;
        if if self.protected { tlv::unprotected_only(kind) } else { tlv::protected_only(kind) } {
            return Err(Fault::Misplaced);
        }
        let wrong_len = match kind {
            tlv::SHA384 | tlv::SHA512 => return Err(Fault::HashUnsupported),
            // Two integers of at least a byte, at most 33 each: MCUboot leaves the rest to the verification.
            tlv::ECDSA => !(8..=SIGNATURE_MAX).contains(&usize::from(len)),
            _ => tlv::fixed_len(kind).is_some_and(|must| must != len),
        };
        if wrong_len {
            return Err(Fault::TlvLength);
        }
        let summary = &mut self.summary;
        if match kind {
            tlv::SHA256 => self.have_hash,
            tlv::SECURITY_COUNTER => summary.security_counter.is_some(),
            tlv::VENDOR => summary.vendor.is_some(),
            tlv::CLASS => summary.class.is_some(),
            _ => false,
        } {
            return Err(Fault::Duplicate);
        }
        if !self.protected && summary.unlisted.is_none() && !tlv::listed(kind) {
            summary.unlisted = Some(kind);
        }
        match kind {
            tlv::SHA256 | tlv::SECURITY_COUNTER | tlv::VENDOR | tlv::CLASS => {
                self.cursor = self.cursor.wrapping_add(tlv::HEAD_SIZE);
                return Ok(State::Value);
            }
            #[cfg(feature = "signatures")]
            tlv::KEY_HASH => {
                self.cursor = self.cursor.wrapping_add(tlv::HEAD_SIZE);
                return Ok(State::Value);
            }
            tlv::DEPENDENCY => summary.dependencies = summary.dependencies.saturating_add(1),
            #[cfg(feature = "signatures")]
            tlv::RSA2048..=tlv::ED25519 => self.signature(kind, len),
            _ => {}
        }
        self.next_tlv(whole)
    }

    #[cfg(feature = "signatures")]
    fn signature(&mut self, kind: u16, len: u16) {
        let summary = &mut self.summary;
        summary.signatures = summary.signatures.saturating_add(1);
        if summary.signature.is_none() && (self.wanted_key.is_none() || summary.key_hash.is_some()) {
            let kind = match kind {
                tlv::ECDSA => SignatureKind::EcdsaP256,
                tlv::ED25519 => SignatureKind::Ed25519,
                other => SignatureKind::Other(other),
            };
            let offset = self.cursor.wrapping_add(tlv::HEAD_SIZE);
            summary.signature = Some(SignatureRef { kind, offset, len });
        }
    }

    /// Keeps a value whose length was checked by its head.
    fn value(&mut self, bytes: &[u8]) {
        let summary = &mut self.summary;
        match self.head.0 {
            tlv::SHA256 => {
                if let Ok(hash) = bytes.try_into() {
                    summary.image_hash = hash;
                    self.have_hash = true;
                }
            }
            #[cfg(feature = "signatures")]
            tlv::KEY_HASH if summary.signature.is_none() => {
                summary.key_hash =
                    bytes.try_into().ok().filter(|hash| self.wanted_key.is_none_or(|wanted| wanted == *hash));
            }
            tlv::SECURITY_COUNTER => summary.security_counter = bytes.try_into().ok().map(u32::from_le_bytes),
            tlv::VENDOR => summary.vendor = bytes.try_into().ok(),
            tlv::CLASS => summary.class = bytes.try_into().ok(),
            _ => {}
        }
    }
}
