#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the keys of the tests, with imgtool and OpenSSL. They protect nothing: never sign a product with them.
# Run once; the images in ../data were signed with what it made, and must be made anew after another run.
set -eu
cd "$(dirname "$0")"
imgtool keygen -t ecdsa-p256 -k p256.pem
imgtool keygen -t ecdsa-p256 -k p256-other.pem
imgtool keygen -t ed25519 -k ed25519.pem
imgtool keygen -t ed25519 -k ed25519-other.pem
imgtool keygen -t ecdsa-p384 -k p384.pem
imgtool keygen -t rsa-2048 -k rsa.pem
for key in p256 ed25519; do
    imgtool getpub -k $key.pem -e pem -o $key-pub.pem
    imgtool getpub -k $key.pem -e raw -o $key-spki.bin
    imgtool getpubhash -k $key.pem -e raw -o $key-hash.bin
done
# As imgtool keygen --password, which asks on the terminal.
python3 - <<'PY'
from imgtool import keys
for name in ("p256", "ed25519"):
    keys.load(f"{name}.pem").export_private(f"{name}-encrypted.pem", passwd=b"golden")
PY
# SEC1, and PKCS#8 without the public key in it.
openssl ec -in p256.pem -out p256-sec1.pem
openssl ec -in p256.pem -no_public -out p256-bare-sec1.pem
openssl pkcs8 -topk8 -nocrypt -in p256-bare-sec1.pem -out p256-bare.pem
rm p256-bare-sec1.pem
