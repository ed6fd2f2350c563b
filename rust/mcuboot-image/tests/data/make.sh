#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the images of the tests with imgtool (2.5.0 made those that are here): sh make.sh [name...]
# Images that are here already are kept, since ECDSA signatures differ from run to run; delete one to have it made anew.
set -eu
cd "$(dirname "$0")"
# 301 bytes that compress badly, so that no length is even by chance; and the same behind room for a header.
[ -e body.bin ] || python3 - <<'PY'
state, body = 1, bytearray()
for _ in range(301):
    state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    body.append(state >> 16 & 0xFF)
open("body.bin", "wb").write(body)
PY
linked=$(mktemp)
trap 'rm -f "$linked"' EXIT
{ head -c 512 /dev/zero; cat body.bin; } > "$linked"
cat cases.txt foreign.txt | grep -v '^#' | while read -r name key options; do
    [ ! -e "$name.bin" ] || continue
    [ "$key" = - ] && signer= || signer="-k ../keys/$key.pem"
    case $options in *--pad-header*) body=body.bin ;; *) body=$linked ;; esac
    # No quotes: options and signer are words.
    imgtool sign $signer $options "$body" "$name.bin" > /dev/null
    echo "$name"
done
