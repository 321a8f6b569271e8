#!/bin/sh
# The pictures of the README, from a real run: docs/images/make.sh [FOLDER OF A DEMO]
# Without a folder the demo runs first (DEMO_ARGS adds options to it). Chromium's name can be set by CHROMIUM.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
openbook=$(command -v openbook || echo "$here/../../.venv/bin/openbook")
demo=${1:-$(mktemp -d)}
[ -f "$demo/report.html" ] || "$openbook" demo --out "$demo" ${DEMO_ARGS:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

shoot() { # NAME PAGE HEIGHT
  "${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run \
    --hide-scrollbars --user-data-dir="$work/profile" --virtual-time-budget=8000 --window-size="1280,$3" \
    --screenshot="$here/$1" "file://$2" 2>/dev/null
}

shoot report.png "$(cd "$demo" && pwd)/report.html" 1340
# The same page with all but the open book hidden: nothing of its content is changed.
sed 's|</head>|<style>header, main > section:not(.book) { display: none } .book { border: 0; margin: 0 }</style></head>|' \
  "$demo/report.html" > "$work/book.html"
shoot book.png "$work/book.html" 1120
ls -l "$here"/*.png
