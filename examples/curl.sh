#!/bin/sh
# The common calls with curl. Usage: KEY=sk-… sh examples/curl.sh [http://localhost:8000]
# Writes its pictures into the folder it is started in; costs 14.5 credits.
set -eu
HOST=${1:-http://localhost:8000}
AUTH="authorization: Bearer ${KEY:?set KEY to your API key}"

echo "balance:"
curl -sS --fail-with-body "$HOST/v1/user/balance" -H "$AUTH"
echo

# One picture, as bytes.
curl -sS --fail-with-body "$HOST/v2beta/stable-image/generate/sd3" -H "$AUTH" -H "accept: image/*" \
  -F prompt="a strawberry on a light blue background" -F model=sd3.5-flash -F seed=7 -o strawberry.png

# The same as JSON, with base64 inside.
curl -sS --fail-with-body "$HOST/v2beta/stable-image/generate/sd3" -H "$AUTH" -H "accept: application/json" \
  -F prompt="a strawberry on a light blue background" -F model=sd3.5-flash -F seed=7 -o strawberry.json

# Another picture that starts from the first one.
curl -sS --fail-with-body "$HOST/v2beta/stable-image/generate/sd3" -H "$AUTH" -H "accept: image/*" \
  -F prompt="a lemon on a light blue background" -F model=sd3.5-flash -F mode=image-to-image -F strength=0.7 \
  -F image=@strawberry.png -F output_format=jpeg -o lemon.jpg

# More to the left and to the right.
curl -sS --fail-with-body "$HOST/v2beta/stable-image/edit/outpaint" -H "$AUTH" -H "accept: image/*" \
  -F image=@strawberry.png -F left=256 -F right=256 -F output_format=webp -o wide.webp

# A retry with the same Idempotency-Key is answered alike and costs nothing.
curl -sS --fail-with-body "$HOST/v2beta/stable-image/generate/core" -H "$AUTH" -H "accept: image/*" \
  -H "idempotency-key: example-$$" -F prompt="a red apple" -o apple.png
curl -sS --fail-with-body "$HOST/v2beta/stable-image/generate/core" -H "$AUTH" -H "accept: image/*" \
  -H "idempotency-key: example-$$" -F prompt="a red apple" -o apple-again.png
cmp apple.png apple-again.png
echo "made strawberry.png strawberry.json lemon.jpg wide.webp apple.png"
