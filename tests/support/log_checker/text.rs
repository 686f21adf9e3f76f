//! What was seen, for people.

use super::{
    Answer, Attempt, Content, Contents, Node, Read,
    evidence::{Evidence, RecordOf, Sighting},
};

impl Evidence<'_> {
    /// A record, with the request it was sent in.
    pub(super) fn text_of(&self, content: &Content) -> String {
        let head = head(content);
        match self.record(content) {
            None => format!("{head:?} (sent by nobody)"),
            Some(RecordOf { batch, index }) => {
                let count = self.batches[batch].records.len();
                format!(
                    "{head:?} (record {} of {count} of {})",
                    index + 1,
                    self.text_of_batch(batch)
                )
            }
        }
    }

    /// A batch, with all its tries.
    pub(super) fn text_of_batch(&self, batch: usize) -> String {
        const SHOWN: usize = 4;
        let Some(first) = self.batches[batch].records.first() else {
            return "an empty batch".to_owned();
        };
        let tries = self.history.attempts.iter();
        let tries = tries.filter(|attempt| attempt.records.first() == Some(first));
        let tries: Vec<&Attempt> = tries.collect();
        let mut text = format!("the batch of {}", text_of_sender(tries[0]));
        // Those that may have stored it say more than the others.
        let has_failed = |attempt: &&&Attempt| matches!(attempt.answer, Some((_, Answer::Failed)));
        let may_have_stored = tries.iter().filter(|attempt| !has_failed(attempt));
        let in_order = may_have_stored.chain(tries.iter().filter(has_failed));
        for attempt in in_order.take(SHOWN) {
            text.push_str("; ");
            text.push_str(&text_of_try(attempt));
        }
        if tries.len() > SHOWN {
            let more = tries.len() - SHOWN;
            let failed = tries.iter().filter(has_failed).count();
            text.push_str(&format!("; and {more} tries more ({failed} of all failed)"));
        }
        text
    }

    /// Who says that the record was there.
    pub(super) fn text_of_witness(&self, sighting: &Sighting) -> String {
        let history = self.history;
        let mut told = Vec::new();
        told.extend(
            sighting
                .attempt
                .map(|attempt| format!("acknowledged: {}", text_of_try(history.attempt(attempt)))),
        );
        told.extend(
            sighting
                .read
                .map(|read| text_of_read(&history.reads[read as usize])),
        );
        told.extend(
            sighting
                .contents
                .map(|contents| text_of_contents(&history.contents[contents as usize])),
        );
        told.join(", ")
    }
}

/// An attempt, by itself.
pub(super) fn text_of_attempt(attempt: &Attempt) -> String {
    format!("{}, {}", text_of_sender(attempt), text_of_try(attempt))
}

fn text_of_sender(attempt: &Attempt) -> String {
    let Attempt {
        client,
        records,
        stamp,
        ..
    } = attempt;
    let head = records.first().map(head).unwrap_or_default();
    let stamp = stamp.map_or_else(String::new, |stamp| {
        format!(
            " producer {} epoch {} sequence {}",
            stamp.id, stamp.epoch, stamp.sequence
        )
    });
    format!("{client} {head:?} x{}{stamp}", records.len())
}

fn text_of_try(attempt: &Attempt) -> String {
    let (node, began) = (text_of_node(&attempt.node), attempt.began);
    match attempt.answer {
        None => format!("to {node} at {began}, never answered"),
        Some((ended, Answer::Failed)) => format!("to {node} {began}..{ended} failed"),
        Some((ended, Answer::Unknown)) => format!("to {node} {began}..{ended} outcome unknown"),
        Some((
            ended,
            Answer::Acknowledged {
                first_offset,
                next_offset,
                ..
            },
        )) => format!("to {node} {began}..{ended} acknowledged [{first_offset}, {next_offset})"),
    }
}

/// A read, without what it gave.
pub(super) fn text_of_read(read: &Read) -> String {
    let Read {
        level,
        began,
        ended,
        from,
        high_watermark,
        ..
    } = read;
    let (node, count) = (text_of_node(&read.node), read.records.len());
    format!(
        "the {level:?} read of {count} records from {from} at {node} {began}..{ended}, high watermark {high_watermark}"
    )
}

/// A full read, without what it gave.
pub(super) fn text_of_contents(contents: &Contents) -> String {
    let Contents {
        level,
        began,
        ended,
        earliest,
        high_watermark,
        ..
    } = contents;
    let node = text_of_node(&contents.node);
    format!("the full {level:?} read of {node} {began}..{ended}, [{earliest}, {high_watermark})")
}

/// `node-1` or, when it has been restarted, `node-1/2`.
pub(super) fn text_of_node(node: &Node) -> String {
    match node.life {
        0 => node.name.to_string(),
        life => format!("{}/{life}", node.name),
    }
}

fn head(content: &Content) -> String {
    let length = content
        .head
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let shown = String::from_utf8_lossy(&content.head[..length]);
    // Records are padded with dots.
    shown.trim_end_matches(['.', ' ']).to_owned()
}
