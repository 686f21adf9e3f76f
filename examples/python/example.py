"""Appends records, reads them, stops, and goes on where it stopped: `python example.py ADDRESS`.

With the certificates of `annals init`: --ca, --cert and --key, or ANNALS_CA, ANNALS_CERT and ANNALS_KEY, as for `annals` itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from annals.v1 import log_pb2_grpc
from annals_log import Position, Producer, Refused, Stop, WrongPlace, connect, follow


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Appends records to Annals and reads them.")
    parser.add_argument("address", nargs="?", default="127.0.0.1:8400", help="a node [default: %(default)s]")
    for name, what in [("ca", "who is believed"), ("cert", "who this is"), ("key", "the key to it")]:
        parser.add_argument(f"--{name}", metavar="FILE", default=os.environ.get(f"ANNALS_{name.upper()}"), help=what)
    parser.add_argument("--position", metavar="FILE", type=Path, default=Path("example.position"),
                        help="where the reader keeps its place [default: %(default)s]")
    parser.add_argument("--follow", action="store_true", help="only read, and go on with each new record until Ctrl-C")
    return parser.parse_args()


def read(
    log: log_pb2_grpc.LogServiceStub, position: Position, first: int = 0, stop: Stop | None = None
) -> Iterator[int]:
    """Deals with records from where the reader is, or else from `first` on; answers the offset of each."""
    with closing(follow(log, position.load(otherwise=first), stop=stop)) as records:
        for place, record in records:
            print(f"read {place.offset}: {record.value.decode()}", flush=True)
            # Behind what was done about it: after a crash in between it is done again, and never left out.
            position.save(place._replace(offset=place.offset + 1))
            yield place.offset


def main(args: argparse.Namespace) -> None:
    position = Position(args.position)
    with connect(args.address, args.ca, args.cert, args.key) as channel:
        log = log_pb2_grpc.LogServiceStub(channel)
        if args.follow:
            stop = Stop()
            signal.signal(signal.SIGINT, stop)
            for _ in read(log, position, stop=stop):
                pass
            return

        # All three are stored, or none.
        producer = Producer(log)
        request = producer.request([b"an order", b"a payment", b"a parcel"])
        answer = producer.send(request)
        print(f"3 records at offsets {answer.first_offset}..{answer.next_offset}")

        # As though the answer had been lost.
        again = producer.send(request)
        print(f"sent again: offsets {again.first_offset}..{again.next_offset}, stored before: {again.repeated}")

        # Only if nobody has appended since; but we have.
        try:
            producer.append([b"a second first order"], expected_offset=answer.first_offset)
        except Refused as refused:
            if refused.reason != "CONDITION_FAILED":
                raise
            print(f"refused: {refused.reason}, the next offset is {refused.metadata['next_offset']}")

        # A reader that stops, as in a crash, when it has dealt with two records.
        for _ in islice(read(log, position, first=answer.first_offset), 2):
            pass

        offsets = producer.append([b"a letter"])
        print(f"1 record at offset {offsets.start}")

        # The next one goes on behind it, up to the newest.
        for offset in read(log, position):
            if offset == offsets.start:
                break


if __name__ == "__main__":
    args = arguments()
    try:
        main(args)
    except Refused as refused:
        sys.exit(f"error: {refused}")
    except WrongPlace as wrong:
        sys.exit(f"error: {wrong}; to begin anew, delete {args.position}")
    except KeyboardInterrupt:
        pass
