//! The client's end of an exchange: sends the request and follows the answer event by event.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use memchr::memmem;
use tokio::time::timeout;

use crate::conversation::{Dialect, Frame, LAST_FRAGMENT};
use crate::http::{BodyDecoder, Connection, EXCHANGE_HEADER};
use crate::report::Tally;
use crate::services::{ProviderEnd, Services};

/// A proxy that holds a request for longer than this will not pass it on at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer as it arrives at the client.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    client: &'a mut Connection,
    decoder: Option<BodyDecoder>,
    received: Vec<u8>,
    events: usize,
    has_tool_call: bool,
    complete: bool,
}

/// Sends a request of chat.completions and gives both ends of the exchange once the provider has the request; its stream is started.
pub(crate) async fn open<'a>(services: &Rc<Services>, client: &'a mut Connection) -> Result<(ProviderEnd, Answer<'a>)> {
    open_in(Dialect::ChatCompletions, services, client).await
}

/// As [`open`], in a dialect.
pub(crate) async fn open_in<'a>(
    dialect: Dialect,
    services: &Rc<Services>,
    client: &'a mut Connection,
) -> Result<(ProviderEnd, Answer<'a>)> {
    let (number, arrival) = services.expect_exchange();
    client.write(&request(dialect, number)).await?;
    let Ok(Ok(mut provider)) = timeout(PATIENCE, arrival).await else {
        bail!("the proxy did not pass request {number} on to the provider within {PATIENCE:?}");
    };
    provider.start_stream().await?;
    let answer = Answer { client, decoder: None, received: Vec::new(), events: 0, has_tool_call: false, complete: false };
    Ok((provider, answer))
}

/// Writes the rest of the answer, reads it to its end and counts the exchange.
pub(crate) async fn finish(provider: ProviderEnd, mut answer: Answer<'_>, ending: &[Frame], tally: &mut Tally) -> Result<()> {
    let written = provider.finish(ending).await?;
    answer.wait_for_end().await?;
    tally.count_exchange(&written, &answer);
    Ok(())
}

impl Answer<'_> {
    pub(crate) const fn events(&self) -> usize {
        self.events
    }

    /// The body so far.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) async fn wait_for_events(&mut self, count: usize) -> Result<()> {
        while self.events < count {
            self.read_more().await?;
        }
        Ok(())
    }

    pub(crate) async fn wait_for_tool_call(&mut self) -> Result<()> {
        while !self.has_tool_call {
            self.read_more().await?;
        }
        Ok(())
    }

    pub(crate) async fn wait_for_end(&mut self) -> Result<()> {
        while !self.complete {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn read_more(&mut self) -> Result<()> {
        if self.complete {
            bail!("the answer ended after {} events, before what the client waits for", self.events);
        }
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            unread => {
                let (status, decoder) = self.client.read_response_head().await?;
                if status != 200 {
                    bail!("the proxy answered with status {status}");
                }
                unread.insert(decoder)
            }
        };
        let before = self.received.len();
        self.complete = self.client.read_body(decoder, &mut self.received).await?;
        // What is searched for may have begun with bytes that were there before.
        let since = |length: usize| &self.received[before.saturating_sub(length - 1)..];
        self.events += memmem::find_iter(since(2), b"\n\n").count();
        self.has_tool_call |= memmem::find(since(LAST_FRAGMENT.len()), LAST_FRAGMENT).is_some();
        Ok(())
    }
}

fn request(dialect: Dialect, number: u64) -> Vec<u8> {
    let (path, body) = (dialect.path(), dialect.request_body());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer none\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n{EXCHANGE_HEADER}: {number}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
