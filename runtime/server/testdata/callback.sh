#!/bin/sh
# Sends an encrypted callback and opens the answer with openssl, sha1sum and
# curl only: nothing here shares a line with the host.
#
#   callback.sh URL TOKEN ENCODING_AES_KEY APP_ID MESSAGE_FILE
#
# It prints the opened answer, and exits 1 where a signature, the padding, the
# length or the app id of it is wrong.
set -eu
export LC_ALL=C
url=$1 token=$2 encoding_aes_key=$3 app_id=$4 message=$5

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "callback.sh: $*" >&2; exit 1; }

hex() { od -An -v -tx1 | tr -d ' \n'; }
key=$(printf '%s=' "$encoding_aes_key" | openssl base64 -d -A | hex)
[ ${#key} = 64 ] || fail "the key has ${#key} hex digits, not 64"
iv=$(printf '%.32s' "$key")

# sign TIMESTAMP NONCE ENCRYPT
sign() { printf '%s\n' "$token" "$1" "$2" "$3" | sort | tr -d '\n' | sha1sum | cut -c1-40; }
# byte NUMBER
byte() { printf "\\$(printf '%03o' "$1")"; }

# 16 random bytes, the length in 4 bytes big endian, the message, the app id,
# padded to 32 bytes.
size=$(wc -c <"$message")
{
	openssl rand 16
	byte $((size / 16777216 % 256)); byte $((size / 65536 % 256)); byte $((size / 256 % 256)); byte $((size % 256))
	cat "$message"
	printf '%s' "$app_id"
} >"$work/plain"
padding=$((32 - $(wc -c <"$work/plain") % 32))
i=0
while [ $i -lt $padding ]; do byte $padding; i=$((i + 1)); done >>"$work/plain"
encrypt=$(openssl enc -aes-256-cbc -K "$key" -iv "$iv" -nopad -in "$work/plain" | openssl base64 -A)

timestamp=$(date +%s) nonce=1320562132
printf '<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>' "$encrypt" >"$work/body"
status=$(curl -sS -o "$work/answer" -w '%{http_code}' -H 'Content-Type: text/xml' --data-binary "@$work/body" \
	"$url?signature=none&timestamp=$timestamp&nonce=$nonce&encrypt_type=aes&msg_signature=$(sign "$timestamp" "$nonce" "$encrypt")")
[ "$status" = 200 ] || fail "status $status: $(cat "$work/answer")"

# element NAME
element() { tr -d '\n' <"$work/answer" | sed -n "s/.*<$1>\(.*\)<\/$1>.*/\1/p" | sed 's/^<!\[CDATA\[\(.*\)\]\]>$/\1/'; }
sealed=$(element Encrypt)
[ -n "$sealed" ] || fail "the answer has no Encrypt: $(cat "$work/answer")"
want=$(sign "$(element TimeStamp)" "$(element Nonce)" "$sealed")
[ "$(element MsgSignature)" = "$want" ] || fail "the answer's signature is $(element MsgSignature), not $want"

printf '%s' "$sealed" | openssl base64 -d -A | openssl enc -d -aes-256-cbc -K "$key" -iv "$iv" -nopad >"$work/opened"
total=$(wc -c <"$work/opened")
padding=$(tail -c 1 "$work/opened" | od -An -tu1 | tr -d ' ')
[ "$padding" -ge 1 ] && [ "$padding" -le 32 ] && [ $((total % 32)) = 0 ] || fail "the padding is $padding bytes of $total"
[ "$(tail -c "$padding" "$work/opened" | od -An -v -tu1 -w1 | sort -u | tr -d ' \n')" = "$padding" ] || fail "the padding is not all $padding"
length=$((0x$(tail -c +17 "$work/opened" | head -c 4 | hex)))
got=$(tail -c +$((21 + length)) "$work/opened" | head -c $((total - padding - 20 - length)))
[ "$got" = "$app_id" ] || fail "the answer is for $got, not $app_id"
tail -c +21 "$work/opened" | head -c "$length"
