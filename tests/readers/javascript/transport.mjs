// The response under test, as `fetch` gives it. No socket is opened.

let response;

export const give = (given) => (response = given);
export const given = () => response;

/** A response of which the body comes in one piece. */
export function respond({ status, headers, body }) {
  const bytes = Buffer.from(body, "latin1");
  const head = headers.filter(([name]) => !/^(content-length|content-encoding|transfer-encoding)$/i.test(name));
  const empty = status === 204 || status === 304 || (status === 202 && bytes.length === 0);
  return new Response(empty ? null : bytes, { status: status >= 200 && status < 600 ? status : 599, headers: head });
}

export const answer = async () => respond(response);
