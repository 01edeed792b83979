//! Around the caller's service: counts what is in flight, lets GOAWAY go before the response, and tells the reader what
//! became of an upgrade.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::connection::{Busy, Connection, Unanswered};
use crate::tls::Protocol;

/// One connection's service, as hyper wants it.
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) connection: Arc<Connection>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send,
{
    type Response = Response<InFlight<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Counted from here and not from the first poll: a request that waits for its turn is in flight.
        let busy = self.connection.hold();
        let unanswered = self.connection.owe_an_answer();
        let connection = Arc::clone(&self.connection);
        let mut inner = self.inner.clone();
        Box::pin(async move {
            core::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
            let response = inner.call(request).await?;
            if connection.protocol == Protocol::Http1 {
                let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                connection.turns().answered(switched);
            }
            if connection.is_closing() {
                let mut closing = connection.orders().closing.subscribe();
                // An error would mean that the connection is gone, and the response with it.
                drop(closing.wait_for(|closing| *closing).await);
            }
            Ok(response.map(|body| InFlight {
                body,
                unanswered: Some(unanswered),
                _busy: busy,
            }))
        })
    }
}

pin_project! {
    /// A response body that counts as in flight until it has been written or dropped.
    pub(super) struct InFlight<B> {
        #[pin]
        body: B,
        // Until hyper asks for the body: then it has the head.
        unanswered: Option<Unanswered>,
        _busy: Busy,
    }
}

impl<B: Body> Body for InFlight<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        drop(this.unanswered.take());
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
