//! Bytes are a frame's header exactly where `docs/format.md` says so, and then mean what it says: the entry that comes out
//! is the one that went in. A flipped bit in a good frame is found, and so is a frame at another place.
//!
//! Input: salt, position, which bit to flip, whether the checksums are right, the frame.

#![no_main]

use annals::{
    storage::frame::{FrameFault, FrameHeader},
    types::Position,
};
use annals_fuzz::{
    format::flipped,
    seeds,
    store::{FRAME_HEADER_BYTES, Frame, frames, salt, seal_frame},
};
use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    salt: u64,
    position: u32,
    flip: u16,
    sealed: bool,
    frame: &'a [u8],
}

fuzz_target!(init: seeds::plant("frame", seeds()), |input: Input<'_>| {
    let mut frame = input.frame.to_vec();
    let position = u64::from(input.position);
    if input.sealed {
        seal_frame(&mut frame, input.salt, position);
    }
    let Ok(header) = FrameHeader::decode(&frame, input.salt, Position(position)) else {
        return assert!(Frame::of(&frame, input.salt, position as usize).is_none(), "a good frame is refused");
    };
    assert_same_header(&header, &frame);
    let whole = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_len as usize);
    let Some(payload) = whole.filter(|payload| header.check_payload(payload).is_ok()) else {
        return assert!(Frame::of(&frame, input.salt, position as usize).is_none(), "a good payload is refused");
    };
    let expected = Frame::of(&frame, input.salt, position as usize).expect("what is taken is a frame");
    let payload = Bytes::copy_from_slice(payload);
    assert_eq!(header.entry(&payload), expected.entry());
    let frame_bytes = &frame[..FRAME_HEADER_BYTES + payload.len()];
    assert_flip_is_found(&flipped(frame_bytes, usize::from(input.flip)), input.salt, position);
    let elsewhere = FrameHeader::decode(&frame, input.salt, Position(position ^ 8));
    assert_eq!(elsewhere, Err(FrameFault::HeaderChecksum));
});

/// As `arbitrary` reads them: fields from the front, and the slice is what is left.
fn seeds() -> Vec<Vec<u8>> {
    let store = seeds::golden_store();
    let seed = |frame: &Frame<'_>| {
        let head = [
            salt(&store).to_le_bytes().to_vec(),
            (frame.position as u32).to_le_bytes().to_vec(),
            vec![9, 0, 1],
        ];
        [head.concat(), store[frame.position..frame.end()].to_vec()].concat()
    };
    frames(&store, 4096).iter().map(seed).collect()
}

/// The header's fields lie where the document has them; its last four bytes mean nothing.
fn assert_same_header(header: &FrameHeader, bytes: &[u8]) {
    let mut again = bytes[..4].to_vec();
    again.extend_from_slice(&header.payload_crc.to_le_bytes());
    again.extend_from_slice(&header.payload_len.to_le_bytes());
    again.extend_from_slice(&[header.kind as u8, header.encoding]);
    again.extend_from_slice(&header.flags.to_le_bytes());
    for number in [
        header.log_index.get(),
        header.term.get(),
        header.base_offset.get(),
    ] {
        again.extend_from_slice(&number.to_le_bytes());
    }
    again.extend_from_slice(&header.record_count.to_le_bytes());
    again.extend_from_slice(&header.submitted_count.to_le_bytes());
    again.extend_from_slice(&header.timestamp.0.to_le_bytes());
    again.extend_from_slice(&header.synced_to.to_le_bytes());
    assert_eq!(again, bytes[..FRAME_HEADER_BYTES - 4]);
    assert!(header.next_offset() >= header.base_offset);
    assert_eq!(header.frame_len() % 8, 0);
}

fn assert_flip_is_found(frame: &[u8], salt: u64, position: u64) {
    let Ok(header) = FrameHeader::decode(frame, salt, Position(position)) else {
        return;
    };
    let payload = &frame[FRAME_HEADER_BYTES..];
    assert!(
        header.check_payload(payload).is_err(),
        "a flipped bit is not found"
    );
}
