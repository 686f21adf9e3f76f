#!/usr/bin/env bash
# Proves on real text that nothing acknowledged is lost: every line of a large file is produced by the CLI while the node
# is killed with `kill -9` and started again several times; then all of it is consumed and compared byte for byte.
#
#   scripts/prove-real-input.sh [FILE]     FILE: any text of 100 MB or more; default: the sources of our dependencies
#   KILLS=3 ANNALS=target/release/annals   how often to kill, and which program
#
# Needs a release build (cargo build --release), about four times the file's size of disk, and about a minute.
set -euo pipefail
annals=${ANNALS:-target/release/annals}
kills=${KILLS:-3}
bytes_min=100000000
work=$(mktemp -d)
node=
stop_node() { if [ -n "$node" ]; then kill "$1" "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; node=; fi; }
trap 'stop_node -TERM; rm -rf "$work"' EXIT

start_node() {
  "$annals" dev --data-dir "$work/data" --port "$port" >"$work/node.out" 2>>"$work/node.log" &
  node=$!
  for _ in $(seq 500); do grep -q 'is ready' "$work/node.out" && return; sleep 0.02; done
  echo "the node did not start:"; tail -5 "$work/node.log"; exit 1
}

input=${1:-$work/input}
if [ $# -eq 0 ]; then
  find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -name '*.rs' -print0 | sort -z | xargs -0 cat | head -c 250000000 >"$input" || true
fi
bytes=$(stat -c %s "$input")
[ "$bytes" -ge "$bytes_min" ] || { echo "$input has only $bytes bytes; give a text of $bytes_min or more"; exit 1; }
port=${PORT:-18400}

start_node
"$annals" produce --addr "127.0.0.1:$port" --file "$input" >"$work/produced" 2>"$work/produce.err" &
producer=$!
for number in $(seq "$kills"); do
  # Somewhere in the middle: when the log has grown by another share of the input.
  want=$((bytes * number / (kills + 1)))
  while kill -0 $producer 2>/dev/null; do
    have=$(cat "$work"/data/logs/default/*.store 2>/dev/null | wc -c)
    [ "$have" -ge "$want" ] && break
    sleep 0.01
  done
  kill -0 $producer 2>/dev/null || { echo "the producer ended before kill $number: the file is too small for this machine"; cat "$work/produce.err"; exit 1; }
  acknowledged=$("$annals" log describe --addr "127.0.0.1:$port" -o json | sed -n 's/.*"high_watermark":\([0-9]*\).*/\1/p')
  stop_node -KILL
  start_node
  recovered=$("$annals" log describe --addr "127.0.0.1:$port" -o json | sed -n 's/.*"high_watermark":\([0-9]*\).*/\1/p')
  echo "kill $number: $acknowledged records were readable before, $recovered after"
  [ "$recovered" -ge "$acknowledged" ] || { echo "LOST RECORDS"; exit 1; }
done
wait $producer || { echo "the producer failed:"; cat "$work/produce.err"; exit 1; }
cat "$work/produced"
# A text whose last line has no newline comes back with one: a record is a line without it.
"$annals" consume --addr "127.0.0.1:$port" | sha256sum | cut -d' ' -f1 >"$work/consumed.sha256"
sed -e '$a\' "$input" | sha256sum | cut -d' ' -f1 >"$work/input.sha256"
if cmp -s "$work/consumed.sha256" "$work/input.sha256"; then
  echo "identical: $bytes bytes, $(wc -l <"$input") lines, sha256 $(cat "$work/input.sha256")"
else
  echo "DIFFERENT: produced $(cat "$work/input.sha256"), consumed $(cat "$work/consumed.sha256")"; exit 1
fi
