"""The patience of examples/python/annals_log.py, by a clock of its own: told which folder that is in."""

import sys
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])

import annals_log
import grpc
from annals.v1 import log_pb2

HOUR = 3600.0


class Clock:
    """A pause takes no time here, and goes by."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Lost(grpc.RpcError):
    """The connection is lost."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "it is gone"

    def trailing_metadata(self):
        return None


class Stream:
    """Gives what it has, is silent for an hour, and is lost."""

    def __init__(self, records):
        self.records = records

    def __iter__(self):
        if self.records:
            batch = log_pb2.Batch(base_offset=0, records=log_pb2.RecordSet(records=self.records))
            yield log_pb2.ConsumeResponse(batches=[batch])
        clock.now += HOUR
        raise Lost

    def cancel(self):
        pass


class Log:
    """A node that is away for ten seconds after each loss, and after so many streams for good."""

    def __init__(self, streams):
        self.streams, self.back_at = list(streams), 0.0

    def DescribeLog(self, request, timeout):  # noqa: N802
        if clock.now < self.back_at:
            clock.now += 0.1
            raise Lost
        header = SimpleNamespace(cluster_id="one")
        return SimpleNamespace(header=header)

    def ConsumeStream(self, request):  # noqa: N802
        stream = self.streams.pop(0)
        self.back_at = clock.now + HOUR + (10.0 if self.streams else 2 * HOUR)
        return stream

    def Produce(self, request, timeout):  # noqa: N802
        clock.now += timeout
        raise Lost


clock = annals_log.time = Clock()


def seconds_until_it_gives_up(work):
    """From the last loss on."""
    try:
        work()
    except annals_log.Refused as refused:
        assert refused.code == grpc.StatusCode.UNAVAILABLE, refused
        return clock.now
    raise AssertionError("it went on")


# Idle from the start, then with a record, then idle again: each loss is got over, and only the node that stays away is given up.
log = Log([Stream([]), Stream([log_pb2.Record(value=b"a")]), Stream([])])
got = []
gave_up = seconds_until_it_gives_up(lambda: got.extend(annals_log.follow(log, annals_log.Place(0), patience=30.0)))
assert [record.value for _, record in got] == [b"a"], got
assert not log.streams, "all of them were asked for"
waited = gave_up - (log.back_at - 2 * HOUR)
assert 25.0 <= waited <= 31.0, waited

# Whoever produces waits for an answer, so its time counts from the start.
began = clock.now
producer = annals_log.Producer(log, patience=30.0)
waited = seconds_until_it_gives_up(lambda: producer.append([b"a"])) - began
assert 29.0 <= waited <= 31.0, waited
