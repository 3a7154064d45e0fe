//! What happens to one exchange, as data.

use core::time::Duration;

use crate::split::Split;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request head comes.
    RequestHead {
        /// `:method`
        method: String,
        /// `:path`
        path: String,
        /// All other headers, as bytes: a client may send any.
        headers: Vec<(String, Vec<u8>)>,
        /// Whether no body follows.
        end: bool,
    },
    /// Bytes of the request body come.
    RequestBody {
        /// The bytes.
        chunk: Vec<u8>,
        /// Whether they are the last.
        end: bool,
    },
    /// The response head comes.
    ResponseHead {
        /// `:status`
        status: u16,
        /// All other headers.
        headers: Vec<(String, Vec<u8>)>,
        /// Whether no body follows.
        end: bool,
    },
    /// Bytes of the response body come.
    ResponseBody {
        /// The bytes.
        chunk: Vec<u8>,
        /// Whether they are the last.
        end: bool,
    },
    /// Time passes.
    Elapse(Duration),
    /// The client goes away: the exchange is over.
    ClientGone,
    /// The upstream breaks off: the exchange is over.
    UpstreamReset,
}

/// A whole exchange as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// `:method`
    pub method: String,
    /// `:path`
    pub path: String,
    /// The request's other headers.
    pub request_headers: Vec<(String, Vec<u8>)>,
    /// The request's body.
    pub request_body: Vec<u8>,
    /// What the provider answered; `None` where nothing came.
    pub response: Option<RecordedResponse>,
}

/// A recorded response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedResponse {
    /// `:status`
    pub status: u16,
    /// Its other headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Recording {
    /// Records a POST request with a JSON body.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            request_headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            request_body: body.into(),
            response: None,
        }
    }

    /// Adds a header to the request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request_headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Answers with an event stream.
    #[must_use]
    pub fn streamed(self, body: impl Into<Vec<u8>>) -> Self {
        self.answered(200, "text/event-stream", body)
    }

    /// Answers with a whole JSON body.
    #[must_use]
    pub fn whole(self, body: impl Into<Vec<u8>>) -> Self {
        self.answered(200, "application/json", body)
    }

    /// Answers with this response.
    #[must_use]
    pub fn answered(mut self, status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
        self.response = Some(RecordedResponse { status, headers, body: body.into() });
        self
    }

    /// Gives what happens when it is played, the response's body cut so.
    pub fn steps(&self, split: &Split) -> Vec<Step> {
        let mut steps = vec![Step::RequestHead {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.request_headers.clone(),
            end: self.request_body.is_empty(),
        }];
        if !self.request_body.is_empty() {
            steps.push(Step::RequestBody { chunk: self.request_body.clone(), end: true });
        }
        if let Some(response) = &self.response {
            steps.push(Step::ResponseHead { status: response.status, headers: response.headers.clone(), end: false });
            steps.extend(split.cut(&response.body).into_iter().map(|chunk| Step::ResponseBody { chunk, end: false }));
            // As Envoy says it: with no more bytes.
            steps.push(Step::ResponseBody { chunk: Vec::new(), end: true });
        }
        steps
    }
}
