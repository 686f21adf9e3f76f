//! The cluster, and again whenever it changes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::time;
use tonic::Streaming;

use crate::proto::annals::v1::GetClusterResponse;

use super::{
    connection::Connection,
    error::Error,
    node::{Node, Use},
    router::{Need, Router},
    tries::Tries,
};

/// The cluster at once, and again whenever something of it changes: a [`Stream`]. Made by [`Client::watch`](super::Client::watch).
///
/// When its node is lost it goes on at another one, which tells the whole again.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<GetClusterResponse, Error>> + Send>>);

struct Watching {
    router: Arc<Router>,
    tries: Tries,
    node: Option<Arc<Node>>,
    open: Option<Open>,
    within: Duration,
    is_over: bool,
}

struct Open {
    connection: Connection,
    views: Streaming<GetClusterResponse>,
    _use: Use,
}

impl Watch {
    pub(super) fn new(router: &Arc<Router>) -> Self {
        let within = router.settings.within;
        let watching = Watching {
            tries: Tries::new(Arc::clone(router), Some(within)),
            router: Arc::clone(router),
            node: None,
            open: None,
            within,
            is_over: false,
        };
        Self(Box::pin(stream::unfold(watching, |mut watching| async move {
            if watching.is_over {
                return None;
            }
            let view = watching.next().await.map_err(Error::without_effects);
            watching.is_over = view.is_err();
            Some((view, watching))
        })))
    }

    /// The next view of the cluster; `None` after an error.
    ///
    /// Errors: a refusal that does not pass, or no node is reached within the client's `within`. Cancel: safe.
    pub async fn next(&mut self) -> Option<Result<GetClusterResponse, Error>> {
        StreamExt::next(self).await
    }
}

impl Stream for Watch {
    type Item = Result<GetClusterResponse, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Watching {
    async fn next(&mut self) -> Result<GetClusterResponse, Error> {
        loop {
            let node = match self.node.clone() {
                Some(node) => node,
                None => self.tries.first(Need::Any),
            };
            self.node = Some(Arc::clone(&node));
            let error = match self.try_next(&node).await {
                Ok(view) => return Ok(view),
                Err(error) => error,
            };
            self.open = None;
            self.node = Some(self.tries.next(Need::Any, &node, error).await?);
        }
    }

    async fn try_next(&mut self, node: &Arc<Node>) -> Result<GetClusterResponse, Error> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let connection = self.tries.connect(node).await?;
                let within = self.tries.share(self.within);
                let views = time::timeout(within, connection.watch_cluster()).await;
                let views = views.unwrap_or_else(|_| Err(Error::lost("it does not answer")));
                let views = views.inspect_err(|error| self.router.note(node, &connection, error))?;
                self.open.insert(Open {
                    connection,
                    views,
                    _use: node.begin_use(),
                })
            }
        };
        let view = match open.views.message().await {
            Ok(Some(view)) => view,
            Ok(None) => return Err(Error::lost("the node ended the stream")),
            Err(status) => {
                let error = open.connection.explain(status);
                self.router.note(node, &open.connection, &error);
                return Err(error);
            }
        };
        self.router.heard(node, view.header.as_ref())?;
        self.router.learn(&view);
        self.tries.succeeded();
        self.tries.backoff.progress();
        Ok(view)
    }
}
