//! `annals.v1.CursorService`: what is answered, and how it is refused.

use annals::proto::annals::v1::{
    CommitCursorRequest, Cursor, DeleteCursorRequest, GetCursorRequest, ListCursorsRequest, TakeCursorRequest,
};
use futures::future::join_all;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{answered_at_the_deadline, code_and_reason, node, request, staged_node, told, within};

fn take(name: &str) -> TakeCursorRequest {
    TakeCursorRequest {
        name: name.to_owned(),
        ..TakeCursorRequest::default()
    }
}

fn commit(name: &str, epoch: u64, offset: u64) -> CommitCursorRequest {
    CommitCursorRequest {
        log: String::new(),
        name: name.to_owned(),
        epoch,
        offset,
    }
}

fn get(name: &str) -> GetCursorRequest {
    GetCursorRequest {
        name: name.to_owned(),
        ..GetCursorRequest::default()
    }
}

fn delete(name: &str) -> DeleteCursorRequest {
    DeleteCursorRequest {
        name: name.to_owned(),
        ..DeleteCursorRequest::default()
    }
}

fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn a_cursor_is_taken_committed_read_listed_and_deleted() {
    let node = node().await;
    node.full()
        .await
        .produce(request(&["a", "b", "c"]))
        .await
        .unwrap();
    let mut client = node.cursors().await;
    let taken = client.take(take("billing")).await.unwrap().into_inner();
    let header = taken.header.unwrap();
    assert_eq!(
        (header.cluster_id, header.node_id),
        (node.cluster_id.clone(), node.node_id)
    );
    let cursor = taken.cursor.unwrap();
    assert_eq!((cursor.name.as_str(), cursor.offset), ("billing", None));
    assert!(cursor.epoch > 0 && cursor.changed_ms > 0);
    let committed = client.commit(commit("billing", cursor.epoch, 2)).await.unwrap();
    let committed = committed.into_inner().cursor.unwrap();
    assert_eq!(committed.offset, Some(2));
    let got = client.get(get("billing")).await.unwrap().into_inner();
    assert_eq!(got.cursor, Some(committed.clone()));
    assert_eq!(got.header.unwrap().high_watermark, 3);
    let plain = client.commit(commit("audit", 0, 3)).await.unwrap().into_inner();
    let plain = plain.cursor.unwrap();
    let listed = client
        .list(ListCursorsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.cursors, [plain.clone(), committed]);
    let deleted = client.delete(delete("audit")).await.unwrap().into_inner();
    assert_eq!(deleted.cursor, Some(plain));
    let gone = client.get(get("audit")).await.unwrap_err();
    assert_eq!(code_and_reason(&gone), refused(Code::NotFound, "UNKNOWN_CURSOR"));
}

#[tokio::test]
async fn each_refusal_says_what_would_be_right() {
    let node = node().await;
    node.full().await.produce(request(&["a"])).await.unwrap();
    let mut client = node.cursors().await;
    let old = client.take(take("a")).await.unwrap().into_inner().cursor.unwrap();
    let new = client.take(take("a")).await.unwrap().into_inner().cursor.unwrap();
    assert!(new.epoch > old.epoch);
    let status = client.commit(commit("a", old.epoch, 1)).await.unwrap_err();
    let (code, reason, metadata) = told(&status);
    assert_eq!((code, reason), refused(Code::Aborted, "FENCED"));
    assert_eq!(metadata["current_epoch"], new.epoch.to_string());
    assert_eq!(metadata["cursor"], "a");
    assert!(
        status.message().contains("another consumer has taken"),
        "{status:?}"
    );
    let status = client.commit(commit("a", 0, 1)).await.unwrap_err();
    assert_eq!(code_and_reason(&status), refused(Code::Aborted, "FENCED"));
    assert!(status.message().contains("take it"), "{status:?}");
    let status = client.commit(commit("a", new.epoch, 2)).await.unwrap_err();
    let (code, reason, metadata) = told(&status);
    assert_eq!((code, reason), refused(Code::OutOfRange, "OFFSET_OUT_OF_RANGE"));
    assert_eq!(
        (metadata["offset"].as_str(), metadata["next_offset"].as_str()),
        ("2", "1")
    );
    for name in ["", "a/b", "a b", &"x".repeat(129)] {
        let statuses = [
            client.take(take(name)).await.map(drop),
            client.commit(commit(name, 0, 0)).await.map(drop),
            client.get(get(name)).await.map(drop),
            client.delete(delete(name)).await.map(drop),
        ];
        for status in statuses {
            let status = status.unwrap_err();
            assert_eq!(
                code_and_reason(&status),
                refused(Code::InvalidArgument, "INVALID_REQUEST")
            );
            assert!(status.message().contains("128 characters"), "{status:?}");
        }
    }
    client.delete(delete("a")).await.unwrap();
    for status in [
        client.delete(delete("a")).await.map(drop),
        client.commit(commit("a", new.epoch, 1)).await.map(drop),
    ] {
        assert_eq!(
            code_and_reason(&status.unwrap_err()),
            refused(Code::NotFound, "UNKNOWN_CURSOR")
        );
    }
    let other = ListCursorsRequest {
        log: "other".to_owned(),
        ..ListCursorsRequest::default()
    };
    let status = client.list(other).await.unwrap_err();
    assert_eq!(code_and_reason(&status), refused(Code::NotFound, "UNKNOWN_LOG"));
}

#[tokio::test]
async fn one_cursor_too_many_is_refused_until_another_is_deleted() {
    let node = node().await;
    let client = node.cursors().await;
    let takes = (0..1024).map(|number| {
        let mut client = client.clone();
        async move { client.take(take(&format!("consumer-{number}"))).await }
    });
    for taken in within(join_all(takes)).await {
        taken.unwrap();
    }
    let mut client = client;
    let status = client.take(take("another")).await.unwrap_err();
    let (code, reason, metadata) = told(&status);
    assert_eq!((code, reason), refused(Code::ResourceExhausted, "CURSORS_FULL"));
    assert_eq!(metadata["cursors_max"], "1024");
    client.take(take("consumer-7")).await.unwrap();
    client.delete(delete("consumer-8")).await.unwrap();
    client.take(take("another")).await.unwrap();
    let listed = client
        .list(ListCursorsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.cursors.len(), 1024);
}

/// Whether it may be sent again is said.
fn assert_undecided(status: &Status, code: Code) {
    let (found, reason, metadata) = told(status);
    assert_eq!((found, reason), refused(code, "OUTCOME_UNKNOWN"));
    assert_eq!(metadata["of"], "cursor");
    assert!(status.message().contains("send it again"), "{status:?}");
    assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
}

#[tokio::test]
async fn what_nobody_knows_may_be_sent_again() {
    let node = staged_node().await;
    let mut client = node.cursors().await;
    node.hold(true).await;
    let late = answered_at_the_deadline(async || {
        let mut request = Request::new(commit("a", 0, 0));
        request.set_timeout(std::time::Duration::from_millis(300));
        client.clone().commit(request).await.map(drop)
    });
    assert_undecided(&late.await, Code::DeadlineExceeded);
    let mut other = client.clone();
    let lost = tokio::spawn(async move { other.commit(commit("b", 0, 0)).await });
    // Nobody knows how many are held whose client gave up: what is held is lost until this one is told so.
    within(async {
        while !lost.is_finished() {
            node.lose().await;
        }
    })
    .await;
    assert_undecided(&lost.await.unwrap().unwrap_err(), Code::Unknown);
    node.hold(false).await;
    let done = client.commit(commit("b", 0, 0)).await.unwrap().into_inner();
    let expected = Cursor {
        name: "b".to_owned(),
        offset: Some(0),
        behind: Some(0),
        ..Cursor::default()
    };
    let cursor = done.cursor.unwrap();
    assert_eq!(
        Cursor {
            changed_ms: 0,
            ..cursor
        },
        expected
    );
}
