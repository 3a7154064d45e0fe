//! The client's end of an exchange: sends the request and follows the answer event by event.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use memchr::memmem;
use tokio::time::timeout;

use crate::conversation::{Dialect, Frame, LAST_FRAGMENT, request_body};
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
    /// The newest bytes, with so many of the ones before that nothing searched for is cut in two.
    window: Vec<u8>,
    events: usize,
    bytes: usize,
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
    let answer = Answer { client, decoder: None, window: Vec::new(), events: 0, bytes: 0, has_tool_call: false, complete: false };
    Ok((provider, answer))
}

/// Writes the rest of the answer, reads it to its end and counts the exchange.
pub(crate) async fn finish(provider: ProviderEnd, mut answer: Answer<'_>, ending: &[Frame], tally: &mut Tally) -> Result<()> {
    let written = provider.finish(ending).await?;
    answer.wait_for_end().await?;
    tally.count_exchange(written, &answer);
    Ok(())
}

impl Answer<'_> {
    pub(crate) const fn events(&self) -> usize {
        self.events
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
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
        let overlap = self.window.len().min(LAST_FRAGMENT.len() - 1);
        self.window.drain(..self.window.len() - overlap);
        self.complete = self.client.read_body(decoder, &mut self.window).await?;
        self.bytes += self.window.len() - overlap;
        // The second newline of an event's end may be the first new byte.
        let unseen = &self.window[overlap.saturating_sub(1)..];
        self.events += memmem::find_iter(unseen, b"\n\n").count();
        self.has_tool_call |= memmem::find(&self.window, LAST_FRAGMENT).is_some();
        Ok(())
    }
}

fn request(dialect: Dialect, number: u64) -> Vec<u8> {
    let (path, body) = (dialect.path(), request_body());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer none\r\n\
         content-type: application/json\r\naccept: text/event-stream\r\n{EXCHANGE_HEADER}: {number}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
