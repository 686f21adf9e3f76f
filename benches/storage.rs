//! Appends and reads of the log on a real disk, without actors and without a network: the floor under everything else.
//!
//! Run it with `cargo bench --bench storage`. Batches are what a producer would send: one record, or as many as a
//! request takes. Figures of one machine are comparable within one run only; the directory is made below `TMPDIR`,
//! which must be on the disk that is to be measured.

#![expect(clippy::unwrap_used, reason = "in a benchmark, a panic is the report")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{
    clock,
    proto::annals::v1::{Record, RecordSet},
    storage::{
        Log, LogOptions,
        entry::{Batch, Entry, Payload},
        fs::RealFileSystem,
    },
    types::{ClusterId, LogIndex, Offset, Term},
};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use prost::Message;
use tempfile::TempDir;

/// Bytes of a record's value.
const RECORD_BYTES: [usize; 3] = [128, 1 << 10, 16 << 10];
/// Records in a request, at most.
const BATCH_RECORDS: [usize; 2] = [1, 1000];
/// Bytes of a request, at most: the default of `log.batch_bytes_max`.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// What a consumer is given at a time: the default of `limits.consume_chunk_bytes`.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of values that a read goes over.
const READ_BYTES: usize = 32 << 20;
/// Segments are dropped behind the appends, so that a long measurement does not fill the disk.
const KEPT_BYTES: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

/// A log in a directory that goes with it.
struct Bench {
    log: Log,
    next_log_index: u64,
    records: Bytes,
    record_count: u32,
    _directory: TempDir,
}

impl Bench {
    /// A log to which batches of `records` values of `record_bytes` are appended, and of which `cache_bytes` are kept in
    /// memory.
    fn new(record_bytes: usize, records: usize, cache_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = LogOptions {
            directory: directory.path().join("log"),
            cluster_id: ClusterId(1),
            segment_bytes: 64 * MIB,
            segment_age_ms: u64::MAX,
            tail_cache_bytes: cache_bytes,
            open_files_max: 512,
            prezero_bytes_per_second: 8 * MIB,
        };
        let (log, _) = Log::open(Arc::new(RealFileSystem), options).unwrap();
        let record = Record {
            value: Bytes::from(vec![b'x'; record_bytes]),
            ..Record::default()
        };
        let set = RecordSet {
            records: vec![record; records],
        };
        Self {
            log,
            next_log_index: 1,
            records: set.encode_to_vec().into(),
            record_count: u32::try_from(records).unwrap(),
            _directory: directory,
        }
    }

    /// One batch, durable.
    fn append_and_sync(&mut self) {
        let entry = Entry {
            log_index: LogIndex(self.next_log_index),
            term: Term(1),
            timestamp: clock::wall(),
            payload: Payload::Records(Batch {
                producer: None,
                expected_offset: None,
                record_count: self.record_count,
                records: self.records.clone(),
            }),
        };
        self.next_log_index += 1;
        self.log.append(vec![entry]).unwrap();
        self.log.sync().unwrap();
    }

    /// Drops what lies further back than `KEPT_BYTES`.
    fn make_room(&mut self, record_bytes: usize) {
        let kept = KEPT_BYTES / record_bytes as u64;
        let tail = self.tail().get();
        self.log.trim(Offset(tail.saturating_sub(kept))).unwrap();
    }

    fn tail(&self) -> Offset {
        self.log.state().checkpoint().next_offset()
    }

    /// Everything, chunk by chunk.
    fn read_all(&self) {
        let (view, tail) = (self.log.view(), self.tail());
        let mut next = view.earliest();
        while next < tail {
            let cached = view.read_cached(next, tail, CHUNK_BYTES);
            let chunk = cached
                .map_or_else(|| view.read(next, tail, CHUNK_BYTES), Ok)
                .unwrap();
            next = black_box(chunk).next_offset;
        }
    }
}

/// Times `iterations` of `append_and_sync`, and nothing of what keeps the disk from filling up.
fn time_appends(bench: &mut Bench, record_bytes: usize, iterations: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let round = left.min(256);
        let began: Instant = clock::now();
        (0..round).for_each(|_| bench.append_and_sync());
        spent += clock::now() - began;
        bench.make_room(record_bytes);
        left -= round;
    }
    spent
}

fn throughput(records: usize, record_bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: records as u64,
        bytes: (records * record_bytes) as u64,
    }
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append_and_sync");
    for record_bytes in RECORD_BYTES {
        for records in BATCH_RECORDS {
            let records = records.min(BATCH_BYTES_MAX / (record_bytes + 16));
            let mut bench = Bench::new(record_bytes, records, 64 << 20);
            group.throughput(throughput(records, record_bytes));
            let id = BenchmarkId::new(format!("{record_bytes}B"), format!("{records} a batch"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| time_appends(&mut bench, record_bytes, iterations));
            });
        }
    }
    group.finish();
}

/// From memory no byte is copied: what is measured there is finding the batches and handing them out.
fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for record_bytes in RECORD_BYTES {
        let records = 1000.min(BATCH_BYTES_MAX / (record_bytes + 16));
        let batches = READ_BYTES / (records * record_bytes);
        for (from, cache_bytes) in [("files", 0), ("memory", 2 * READ_BYTES)] {
            let mut bench = Bench::new(record_bytes, records, cache_bytes);
            (0..batches).for_each(|_| bench.append_and_sync());
            group.throughput(throughput(batches * records, record_bytes));
            let id = BenchmarkId::new(format!("{record_bytes}B"), from);
            group.bench_function(id, |bencher| bencher.iter(|| bench.read_all()));
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    appends(&mut criterion);
    reads(&mut criterion);
    criterion.final_summary();
}
