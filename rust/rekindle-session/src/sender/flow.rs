// SPDX-License-Identifier: Apache-2.0
//! Which bytes go out next: go-back-N over cumulative acknowledgements (PROTOCOL.md §8).
//!
//! The receiver keeps nothing beyond a gap, so every frame that is on the way when a gap is noticed is sent for
//! nothing. On a link that never loses a frame the whole window is used. Once one was lost, the window shrinks
//! to what the round trip needs ([`Flow::fit`]): frames that only wait in a queue would be lost with the gap.

/// Frames beyond the measured need of the round trip: absorbs a device that answers late.
const SLACK_FRAMES: u32 = 1;

/// The frame whose round trip is being measured.
#[derive(Clone, Copy, Debug)]
struct Timed {
    /// Acknowledged when the offset reaches this.
    end: u32,
    sent_ms: u64,
    /// Frames on the way when it was sent, itself included.
    in_flight: u32,
}

/// How a device acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acks {
    /// Each frame.
    Each,
    /// Each burst of a window, once the line is quiet (half duplex).
    Burst,
}

/// Where a burst is; meaningless while acknowledgements come for each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The sender talks; this many frames of the burst are left.
    Talk { left: u32 },
    /// The burst is out: the device talks.
    Listen,
}

/// What an acknowledgement meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// The acknowledged offset moved on.
    Forward {
        /// A measured round trip, if this frame's was.
        rtt_ms: Option<u64>,
    },
    /// Nothing new: a duplicate, or one that was overtaken on the way.
    Stale,
}

/// The sending window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    size: u32,
    chunk: u32,
    /// Frames allowed by plan and device.
    window: u32,
    /// Frames that the round trip needs, at most `window`; holds once the link is `lossy`.
    fitted: u32,
    acks: Acks,
    turn: Turn,
    acked: u32,
    next: u32,
    /// End of the highest byte ever sent in this session.
    high: u32,
    /// The acknowledged offset at which the sender went back; further gap answers until it moves are echoes.
    gone_back: Option<u32>,
    /// The link has lost data frames.
    lossy: bool,
    timed: Option<Timed>,
    /// Least round trip seen.
    base_rtt_ms: Option<u64>,
}

impl Flow {
    pub(super) fn new(size: u32) -> Self {
        Self {
            size,
            chunk: 1,
            window: 1,
            fitted: 1,
            acks: Acks::Each,
            turn: Turn::Talk { left: 1 },
            acked: 0,
            next: 0,
            high: 0,
            gone_back: None,
            lossy: false,
            timed: None,
            base_rtt_ms: None,
        }
    }

    /// Sets chunk, window and manner of acknowledgement, each at least 1. May come in mid-transfer.
    pub(super) fn shape(&mut self, chunk: u8, window: u8, acks: Acks) {
        self.chunk = u32::from(chunk).max(1);
        self.window = u32::from(window).max(1);
        self.fitted = self.window;
        self.acks = if self.window == 1 { Acks::Each } else { acks };
        self.turn = Turn::Talk { left: self.window };
    }

    /// Begins, resumes or steps back at an offset that the device named in answer to START or QUERY.
    pub(super) fn resume(&mut self, offset: u32) {
        self.acked = offset.min(self.size);
        self.go_back();
        self.gone_back = None;
    }

    /// Takes the offset of an acknowledgement. It only ever moves forward.
    pub(super) fn acknowledge(&mut self, offset: u32, now_ms: u64) -> Ack {
        if offset <= self.acked || offset > self.size {
            return Ack::Stale;
        }
        self.acked = offset;
        self.next = self.next.max(offset);
        self.high = self.high.max(offset);
        self.gone_back = None;
        if self.acks == Acks::Burst && self.acked == self.next {
            self.turn = Turn::Talk { left: self.window };
        }
        let rtt_ms = match self.timed {
            Some(timed) if timed.end <= offset => {
                self.timed = None;
                let rtt_ms = now_ms.saturating_sub(timed.sent_ms);
                self.fit(rtt_ms, timed.in_flight);
                Some(rtt_ms)
            }
            _ => None,
        };
        Ack::Forward { rtt_ms }
    }

    /// Fits the window to the link: what was on the way, less what only waited in a queue.
    ///
    /// A round trip longer than the least one seen was spent in a queue: of `in_flight` frames only
    /// `in_flight · least / rtt` were needed to keep the line busy.
    fn fit(&mut self, rtt_ms: u64, in_flight: u32) {
        let rtt = rtt_ms.max(1);
        let base = self.base_rtt_ms.map_or(rtt, |base| base.min(rtt));
        self.base_rtt_ms = Some(base);
        let needed = u64::from(in_flight).saturating_mul(base).div_ceil(rtt);
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        let queueless = rtt.saturating_mul(8) <= base.saturating_mul(9);
        self.fitted = if queueless {
            // The line may take more, how much more is unknown: this frame may have been the first of many.
            self.fitted.max(needed.saturating_add(SLACK_FRAMES.max(in_flight / 2)))
        } else {
            needed.saturating_add(SLACK_FRAMES)
        }
        .min(self.window);
    }

    /// Takes a gap answer. Returns whether it led back: once for each gap, since the receiver drops what
    /// follows a gap and answers only once, and an echo of that answer must not lead back again.
    pub(super) fn gap(&mut self) -> bool {
        if self.gone_back == Some(self.acked) || self.next == self.acked {
            return false;
        }
        self.lossy = true;
        self.go_back();
        self.gone_back = Some(self.acked);
        true
    }

    /// Goes back to the acknowledged offset.
    pub(super) fn go_back(&mut self) {
        self.next = self.acked;
        self.timed = None;
        self.turn = Turn::Talk { left: self.window };
    }

    /// Data went unanswered.
    pub(super) fn lost(&mut self) {
        self.lossy = true;
        self.go_back();
    }

    /// The link or the device was replaced: what was learnt of the round trip no longer holds.
    pub(super) fn forget_link(&mut self) {
        self.base_rtt_ms = None;
        self.lossy = false;
        self.fitted = self.window;
        self.go_back();
        self.gone_back = None;
    }

    /// Frames that may be on the way now.
    fn allowed(&self) -> u32 {
        if self.lossy && self.acks == Acks::Each { self.fitted.max(1) } else { self.window }
    }

    /// The next chunk to send now, if the window allows one.
    pub(super) fn peek(&self) -> Option<(u32, u8)> {
        let left = self.size.checked_sub(self.next)?;
        let talking = self.acks == Acks::Each || self.turn != Turn::Listen;
        if left == 0 || !talking || self.in_flight() >= self.allowed() {
            return None;
        }
        Some((self.next, u8::try_from(left.min(self.chunk)).ok()?))
    }

    /// Notes that [`peek`](Self::peek)'s chunk is sent; `leaves_ms` is when it has left the sender's side.
    /// Returns how many of its bytes had been sent before.
    pub(super) fn sent(&mut self, now_ms: u64, leaves_ms: u64) -> u32 {
        let Some((offset, len)) = self.peek() else { return 0 };
        let end = offset.saturating_add(u32::from(len));
        let again = self.high.min(end).saturating_sub(offset);
        self.next = end;
        self.high = self.high.max(end);
        let last_of_burst = self.take_turn();
        // Karn: only what is sent for the first time is measured; not while a gap is being closed either, since
        // then frames of before still fill the queue.
        if self.timed.is_none() && again == 0 && self.gone_back.is_none() {
            let in_flight = self.in_flight();
            self.timed = match self.acks {
                Acks::Each => Some(Timed { end, sent_ms: now_ms, in_flight }),
                // A burst is answered as a whole: its time runs from the end of its last frame.
                Acks::Burst if last_of_burst => Some(Timed { end, sent_ms: leaves_ms, in_flight }),
                Acks::Burst => None,
            };
        }
        again
    }

    /// Counts a frame of the burst; returns whether it was the last.
    fn take_turn(&mut self) -> bool {
        let Turn::Talk { left } = self.turn else { return true };
        let left = left.saturating_sub(1);
        let over = left == 0 || self.next == self.size;
        self.turn = if over { Turn::Listen } else { Turn::Talk { left } };
        over
    }

    /// A burst is out and something of it is unacknowledged: the device's answer decides what follows.
    pub(super) fn listening(&self) -> bool {
        self.acks == Acks::Burst && self.turn == Turn::Listen && self.next > self.acked
    }

    /// Frames on the way.
    pub(super) fn in_flight(&self) -> u32 {
        self.next.saturating_sub(self.acked).div_ceil(self.chunk)
    }

    pub(super) fn acked(&self) -> u32 {
        self.acked
    }

    pub(super) fn complete(&self) -> bool {
        self.acked == self.size
    }

    pub(super) fn acks(&self) -> Acks {
        self.acks
    }

    /// Window and chunk, for telling.
    pub(super) fn shape_told(&self) -> (u8, u8) {
        (u8::try_from(self.window).unwrap_or(u8::MAX), u8::try_from(self.chunk).unwrap_or(u8::MAX))
    }

    pub(super) fn windowed(&self) -> bool {
        self.window > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(frames: u8) -> Flow {
        let mut flow = Flow::new(100_000);
        flow.shape(100, frames, Acks::Each);
        flow.resume(0);
        flow
    }

    /// Sends what the window allows; returns the number of frames and the bytes sent again.
    fn fill(flow: &mut Flow, now_ms: u64) -> (u32, u32) {
        let (mut frames, mut again) = (0, 0);
        while flow.peek().is_some() {
            again += flow.sent(now_ms, now_ms);
            frames += 1;
        }
        (frames, again)
    }

    #[test]
    fn sends_a_window_and_one_for_each_acknowledgement() {
        let mut flow = window(8);
        assert_eq!(fill(&mut flow, 0), (8, 0));
        for k in 1..20 {
            assert_eq!(flow.acknowledge(k * 100, 10), Ack::Forward { rtt_ms: (k % 8 == 1).then_some(10) });
            assert_eq!(fill(&mut flow, 0), (1, 0));
        }
    }

    #[test]
    fn a_gap_leads_back_once_however_often_it_is_answered() {
        let mut flow = window(8);
        fill(&mut flow, 0);
        flow.acknowledge(300, 10);
        assert!(flow.gap());
        assert_eq!(fill(&mut flow, 11), (8, 500), "from the acknowledged offset, frames 4 to 11");
        for _ in 0..5 {
            assert!(!flow.gap(), "an echo");
        }
        assert_eq!(flow.peek(), None);
        flow.acknowledge(500, 20);
        assert!(flow.gap(), "the gap after it");
        assert_eq!(flow.peek().map(|(offset, _)| offset), Some(500));
    }

    #[test]
    fn a_gap_answer_with_nothing_on_the_way_is_an_echo() {
        let mut flow = window(8);
        assert!(!flow.gap());
        fill(&mut flow, 0);
        flow.acknowledge(800, 10);
        assert!(!flow.gap());
    }

    #[test]
    fn overtaken_repeated_and_impossible_acknowledgements_move_nothing() {
        let mut flow = window(8);
        fill(&mut flow, 0);
        flow.acknowledge(500, 10);
        for stale in [0, 300, 500, 100_001, u32::MAX] {
            assert_eq!(flow.acknowledge(stale, 11), Ack::Stale);
        }
        assert_eq!((flow.acked(), flow.in_flight()), (500, 3));
    }

    #[test]
    fn an_acknowledgement_of_more_than_was_sent_again_skips_it() {
        let mut flow = window(8);
        fill(&mut flow, 0);
        flow.lost();
        flow.sent(600, 600);
        flow.acknowledge(800, 610);
        assert_eq!(flow.peek(), Some((800, 100)), "what arrived after all is not sent again");
    }

    #[test]
    fn only_what_was_sent_once_is_timed() {
        let mut flow = window(1);
        flow.sent(0, 0);
        flow.lost();
        flow.sent(500, 500);
        assert_eq!(flow.acknowledge(100, 520), Ack::Forward { rtt_ms: None });
        flow.sent(520, 520);
        assert_eq!(flow.acknowledge(200, 540), Ack::Forward { rtt_ms: Some(20) });
    }

    #[test]
    fn the_last_chunk_is_what_is_left() {
        let mut flow = window(8);
        flow.resume(99_950);
        assert_eq!(flow.peek(), Some((99_950, 50)));
        flow.sent(0, 0);
        assert_eq!(flow.peek(), None);
        flow.acknowledge(100_000, 1);
        assert!(flow.complete());
    }

    #[test]
    fn a_burst_goes_out_whole_and_waits_for_its_answer() {
        let mut flow = Flow::new(100_000);
        flow.shape(100, 4, Acks::Burst);
        flow.resume(0);
        assert_eq!(fill(&mut flow, 0).0, 4);
        assert!(flow.listening());
        flow.acknowledge(200, 50);
        assert!(flow.listening(), "the rest of the burst may still be answered");
        assert_eq!(flow.peek(), None);
        flow.go_back();
        assert_eq!(fill(&mut flow, 60), (4, 200));
        flow.acknowledge(600, 100);
        assert_eq!(fill(&mut flow, 100).0, 4, "all of it acknowledged: the next one");
    }

    #[test]
    fn after_a_loss_the_window_is_what_the_round_trip_holds() {
        let mut flow = window(100);
        fill(&mut flow, 0);
        flow.acknowledge(100, 100);
        flow.sent(100, 100);
        // That frame has waited behind a hundred others: 10 ms each.
        flow.acknowledge(10_100, 1_100);
        assert_eq!(flow.allowed(), 100, "a link that loses nothing may queue");
        fill(&mut flow, 1_100);
        assert!(flow.gap());
        assert_eq!(
            flow.allowed(),
            11,
            "a hundred frames took 1000 ms where one takes 100: ten, and one more"
        );
    }
}
