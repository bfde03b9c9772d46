#!/bin/sh
# With curl alone: examples/curl.sh photo.jpg "cat ; dog"
# Writes result.json, and overlay.png, the picture with the masks. MASKQ_URL and MASKQ_API_KEY are those of the client.
set -eu
url=${MASKQ_URL:-http://127.0.0.1:8000}
call() { curl --fail-with-body -sS ${MASKQ_API_KEY:+-H "Authorization: Bearer $MASKQ_API_KEY"} "$@"; }

# -F would take what follows a `;` of a prompt for an option of its own.
answer=$(call -F "image_file=@\"$1\"" --form-string "prompt=$2" "$url/segment/")
job=$(echo "$answer" | sed -E 's/.*"id": ?"([^"]+)".*/\1/')
while state=$(call "$url/jobs/$job?wait=30") && echo "$state" | grep -Eq '"status": ?"(queued|processing)"'; do :; done
call -o result.json "$url/jobs/$job/result"
call -o overlay.png "$url/jobs/$job/overlay.png"
