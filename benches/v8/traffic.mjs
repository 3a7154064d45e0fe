// What the filters get to do: answers of chat.completions as providers write them, an event in each chunk.

const encoder = new TextEncoder();
/** Bytes of an event of text. */
const EVENT_BYTES = 300;
const WORDS = ['The', ' third', ' build', ' machine', ' is', ' "almost"', ' full', ':\n', ' 94', '%', ' – clean', ' it.'];
const ARGUMENTS = ['{"mach', 'ine":', '"build', '-3",', '"comm', 'and":"du', ' --max', '-depth 1', ' /var/cache', '"}'];

export const PATH = '/v1/chat/completions';

export const REQUEST = encoder.encode(
  JSON.stringify({
    model: 'gpt-4o-mini',
    stream: true,
    messages: [{ role: 'user', content: 'Is the third build machine full?' }],
    tools: [{ type: 'function', function: { name: 'run_command', description: 'Runs a command.', parameters: { type: 'object' } } }],
  }),
);

/** Answers of text alone. */
export const text = { name: 'text', exchanges: 1, judged: 0, events: answer(1999, false) };

/** Short answers that end in a call of ten fragments. */
export const calls = { name: 'calls', exchanges: 50, judged: 50, events: answer(27, true) };

function answer(deltas, endsInCall) {
  const events = [];
  for (let number = 0; number < deltas; number++) events.push(textEvent(number));
  if (endsInCall) {
    const call = (fields) => event({ tool_calls: [{ index: 0, ...fields }] });
    events.push(call({ id: 'call_Qk2mVh0sTn4b', type: 'function', function: { name: 'run_command', arguments: '' } }));
    for (const fragment of ARGUMENTS) events.push(call({ function: { arguments: fragment } }));
  }
  events.push(event({}, endsInCall ? 'tool_calls' : 'stop'));
  events.push('data: [DONE]\n\n');
  return events.map((one) => encoder.encode(one));
}

/** Each differs a little from the one before, as in a real answer. */
function textEvent(number) {
  let content = '';
  let written = event({ content });
  while (encoder.encode(written).length < EVENT_BYTES) {
    content += WORDS[number++ % WORDS.length];
    written = event({ content });
  }
  return written;
}

function event(delta, finish_reason = null) {
  return `data: ${JSON.stringify({
    id: 'chatcmpl-A8b4rFvQqL3yTn0W',
    object: 'chat.completion.chunk',
    created: 1_760_000_000,
    model: 'gpt-4o-mini-2024-07-18',
    service_tier: 'default',
    system_fingerprint: 'fp_f85bea6784',
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  })}\n\n`;
}
