//! Models of the policy document that are asked something other than a verdict.

use weir::callout::{CalloutError, CalloutRequest, CalloutResponse};
use weir::judge::{Credential, Judge};
use weir::policy::PolicyContext;
use weir::wait::Waiting;

/// Sends a body of JSON to a judge; at once, also before the future is first awaited.
pub(crate) fn send<S: Default>(
    judge: &Judge,
    body: &[u8],
    cx: &PolicyContext<S>,
) -> Waiting<Result<CalloutResponse, CalloutError>> {
    let authorization = judge.credential.as_ref().map(Credential::authorization);
    cx.callout(&CalloutRequest {
        cluster: &judge.cluster,
        authority: &judge.authority,
        path: &judge.path,
        authorization: authorization.as_deref(),
        body,
        timeout: judge.timeout,
    })
}
