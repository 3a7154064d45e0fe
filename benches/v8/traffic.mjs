// What the filters get to do: answers of chat.completions as providers write them, an event in each chunk.

const encoder = new TextEncoder();
/** Bytes of an event of text. */
const EVENT_BYTES = 300;
const PROSE =
  'The third build machine is almost full: 94 % of its disk are taken, most of it by layers of images that no job has used for a' +
  ' month. Deleting those frees about 120 GB – enough until the new disk is there. The cache of the compiler is smaller than it' +
  ' looks, since half of it is hard links. I would begin with the layers:\nlist those older than 30 days, check that none is' +
  ' "pinned", then remove them one by one while watching the load. Shall I go on like this, or do you want to see the list' +
  ' first? Nothing else on that machine needs attention now.\n\n';
/** Some of what answers say. */
export const prose = PROSE;
const WORDS = PROSE.match(/\s*\S+/g);
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
  const words = wordsWithoutEnd();
  for (let number = 0; number < deltas; number++) events.push(textEvent(words));
  if (endsInCall) {
    const call = (fields) => event({ tool_calls: [{ index: 0, ...fields }] });
    events.push(call({ id: 'call_Qk2mVh0sTn4b', type: 'function', function: { name: 'run_command', arguments: '' } }));
    for (const fragment of ARGUMENTS) events.push(call({ function: { arguments: fragment } }));
  }
  events.push(event({}, endsInCall ? 'tool_calls' : 'stop'));
  events.push('data: [DONE]\n\n');
  return events.map((one) => encoder.encode(one));
}

/** The next words of the answer, as many as an event has room for. */
function textEvent(words) {
  let written = event({ content: '' });
  for (let content = ''; encoder.encode(written).length < EVENT_BYTES; written = event({ content })) content += words.next().value;
  return written;
}

function* wordsWithoutEnd() {
  for (;;) yield* WORDS;
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
