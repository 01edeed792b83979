//! Serving an app behind the gate on a listener: each connection becomes a wire.

use core::future::Future;
use core::task::{Context, Poll};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower_layer::Layer as _;
use tower_service::Service;

use super::{Gate, GateService};
use crate::body::{Body, BoxError};
use crate::listen::Listener;
use crate::wired::Wired;

/// Serves `app` behind the gate until `shutdown` is ready; then what is in flight is answered.
pub async fn serve<S, R>(listener: Listener, gate: Gate, app: S, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let service = gate.layer().layer(app);
    let engine = Arc::clone(gate.engine());
    let each = move |connection| {
        let wired = Arc::new(Wired::new(&engine, connection));
        tracing::info!(
            target: "wirebound::event",
            event = "wire_opened",
            wire = wired.wire.id().as_u64(),
            peer = %wired.connection.peer,
            resumed = wired.connection.family.resumed,
            granted = wired.connection.family.granted,
            http = match wired.connection.protocol {
                crate::tls::Protocol::Http1 => "1.1",
                crate::tls::Protocol::Http2 => "2",
            },
            family = %wired.connection.family.root,
        );
        OnWire {
            wired,
            service: service.clone(),
        }
    };
    listener.serve(each, shutdown).await;
}

/// The service of one connection: each of its requests carries the wire along.
#[derive(Clone, Debug)]
struct OnWire<S> {
    wired: Arc<Wired>,
    service: GateService<S>,
}

impl<S, R> Service<Request<Incoming>> for OnWire<S>
where
    S: Service<Request<Incoming>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = <GateService<S> as Service<Request<Incoming>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.wired));
        self.service.call(request)
    }
}
