"""A small client of annals.v1.LogService: what the generated code leaves to whoever uses it.

Errors are told by their reason, a retry never stores a record twice, and a reader that follows goes on where it was when a
connection, or the node behind it, is lost.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from annals.v1 import log_pb2, log_pb2_grpc

# One response is 4 MiB at most, or one record, which is never larger than a batch, 8 MiB.
RESPONSE_BYTES_MAX = 16 << 20

# The first pause before another try, and the longest, in seconds, where the node does not say when.
PAUSE_MIN, PAUSE_MAX = 0.05, 2.0

# What any node says at once is there by then, in seconds.
ANSWER_WITHIN = 5.0

# What may be over soon. Any other code says that the same request would be refused again.
PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}


def connect(address: str, ca: str | None = None, cert: str | None = None, key: str | None = None) -> grpc.Channel:
    """A connection to a node; with the files of `annals init`, an encrypted one.

    Any node will do, since it sends what is produced to the one that leads. An address is any target of gRPC: with
    `ipv4:127.0.0.1:8400,127.0.0.1:8410` the next node is tried where one does not answer.
    """
    options = [
        ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
        # So that a reader who waits hears of it when the other machine is gone.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]
    if ca is None:
        return grpc.insecure_channel(address, options)
    read = lambda path: Path(path).read_bytes() if path else None  # noqa: E731
    credentials = grpc.ssl_channel_credentials(read(ca), private_key=read(key), certificate_chain=read(cert))
    return grpc.secure_channel(address, credentials, options)


class Refused(Exception):
    """A request that was refused: by a node, which says why, or by the connection."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.code: grpc.StatusCode = error.code()
        # In capitals, from the node, such as CONDITION_FAILED; empty: the connection was lost, or never there.
        self.reason = ""
        # What belongs to the reason, such as next_offset.
        self.metadata: dict[str, str] = {}
        # When the node expects to do better, in seconds.
        self.retry_after: float | None = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        super().__init__(f"{self.reason or self.code.name}: {error.details()}")

    @property
    def may_pass(self) -> bool:
        """Whether the same request may do better in a while."""
        return self.code in PASSING


class Tries:
    """Another try, and another, with longer and longer pauses, for `patience` seconds from the first that fails on."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._until: float | None = None
        self._pause = PAUSE_MIN

    def begin(self) -> None:
        """The time counts from now on, if it does not yet."""
        if self._until is None:
            self._until = time.monotonic() + self._patience

    def answered(self) -> None:
        """A node is there: the time counts from the next failure, however long it takes until then."""
        self._until = None

    def succeeded(self) -> None:
        """And it does what it is asked for: the next pause is short."""
        self.answered()
        self._pause = PAUSE_MIN

    @property
    def seconds_left(self) -> float:
        if self._until is None:
            return self._patience
        return max(self._until - time.monotonic(), 0.001)

    def pause_after(self, refused: Refused) -> None:
        """Waits before the next try. Raises `refused` where there is to be none."""
        self.begin()
        pause = refused.retry_after or self._pause * random.uniform(0.5, 1.5)
        if not refused.may_pass or pause > self.seconds_left:
            raise refused
        time.sleep(pause)
        self._pause = min(self._pause * 2, PAUSE_MAX)


class Producer:
    """Appends records, each once, however often that has to be tried.

    A node knows a batch again by the producer's id and the number of its first record, also after an election or a restart, and
    answers a repeat with the offsets that the batch has. So one producer sends one batch at a time, and the same bytes again until
    it is answered. A program that starts anew takes a new id.
    """

    def __init__(self, log: log_pb2_grpc.LogServiceStub, patience: float = 30.0) -> None:
        self._log, self._patience = log, patience
        self._id, self._sequence = random.SystemRandom().randrange(1, 2**64), 0

    def append(self, values: Iterable[bytes], expected_offset: int | None = None) -> range:
        """Appends records together, all or none; answers their offsets. They are on the disks of a majority then.

        With `expected_offset` only if the first of them gets it, or else Refused with CONDITION_FAILED: nobody came between.
        """
        answer = self.send(self.request(values, expected_offset))
        return range(answer.first_offset, answer.next_offset)

    def request(self, values: Iterable[bytes], expected_offset: int | None = None) -> log_pb2.ProduceRequest:
        """The next batch, to be sent."""
        records = log_pb2.RecordSet(records=[log_pb2.Record(value=value) for value in values])
        stamp = log_pb2.Producer(id=self._id, epoch=0, sequence=self._sequence)
        return log_pb2.ProduceRequest(records=records, producer=stamp, expected_offset=expected_offset)

    def send(self, request: log_pb2.ProduceRequest) -> log_pb2.ProduceResponse:
        """Sends a batch until it is answered."""
        tries = Tries(self._patience)
        tries.begin()
        while True:
            try:
                answer = self._log.Produce(request, timeout=tries.seconds_left)
            except grpc.RpcError as error:
                # Whatever became of it: a repeat stores nothing twice.
                tries.pause_after(Refused(error))
            else:
                self._sequence = request.producer.sequence + len(request.records.records)
                return answer


class Stop:
    """Ends a reader, between two records. It is a handler of signals: `signal.signal(signal.SIGINT, stop)`.

    An exception, which Ctrl-C is else, may come in the middle of gRPC's own work and leave a lock taken, for which others then
    wait for ever.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._call: grpc.Call | None = None

    def __call__(self, *_: object) -> None:
        self.is_set = True
        if self._call:
            self._call.cancel()

    def ends(self, call: grpc.Call) -> None:
        """The call that is to be cancelled, from now on."""
        self._call = call


class Place(NamedTuple):
    """A place in the log of a cluster: in that of another one, other records have the same offsets, or none has."""

    offset: int
    # Its id; empty: whichever is there.
    cluster: str = ""


class WrongPlace(Exception):
    """A place is none in the log that is there, such as that of an `annals dev` which was started anew."""


def follow(
    log: log_pb2_grpc.LogServiceStub, place: Place, patience: float = 30.0, stop: Stop | None = None
) -> Iterator[tuple[Place, log_pb2.Record]]:
    """Each record from `place` on, with its own, in order and once, and then each new one as it comes.

    It ends when it is closed or stopped, or after `patience` seconds without a node. Raises WrongPlace where another log is.
    """
    tries, stop = Tries(patience), stop or Stop()
    offset, cluster = place
    while not stop.is_set:
        try:
            # After a loss, too: whoever is there now may have another log.
            here = log.DescribeLog(log_pb2.DescribeLogRequest(), timeout=ANSWER_WITHIN).header.cluster_id
        except grpc.RpcError as error:
            if not stop.is_set:
                tries.pause_after(Refused(error))
            continue
        tries.answered()
        if cluster not in ("", here):
            raise WrongPlace(f"the position is one in the log of cluster {cluster}, and here is that of cluster {here}")
        cluster = here
        start = log_pb2.Start(offset=offset)
        stream = log.ConsumeStream(log_pb2.ConsumeRequest(start=start, follow=True))
        stop.ends(stream)
        if stop.is_set:
            # Since it was looked at last.
            stream.cancel()
        try:
            for response in stream:
                tries.succeeded()
                for batch in response.batches:
                    for at, record in enumerate(batch.records.records, batch.base_offset):
                        # First of all: whoever closes this in the middle has had the record.
                        offset = at + 1
                        yield Place(at, cluster), record
                        if stop.is_set:
                            return
        except grpc.RpcError as error:
            if not stop.is_set:
                tries.pause_after(Refused(error))
        finally:
            stream.cancel()


class Position:
    """Where a reader goes on: the place of the first record that it has not dealt with, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, otherwise: int) -> Place:
        if not self._path.exists():
            return Place(otherwise)
        try:
            cluster, offset = self._path.read_text().split()
            return Place(int(offset), cluster)
        except ValueError:
            raise WrongPlace("the file of the position has none") from None

    def save(self, place: Place) -> None:
        """Saves it, as a whole or not at all."""
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            file.write(f"{place.cluster} {place.offset}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
