// The policy documents that are measured.

import { readFileSync } from 'node:fs';

/** A document with this chain. */
export function document(chain) {
  return JSON.stringify({
    policy: { id: 'bench', name: 'Bench', revision: 1 },
    chain,
    judges: { main: { cluster: 'judge', authority: 'judge', path: '/v1/chat/completions', model: 'small-judge', timeout: '5s' } },
  });
}

/** A term that is not found; no event of the answers ends as one of them begins. */
export const term = (number) => `${['project', 'vault', 'quartz', 'jupiter', 'zone'][number % 5]} nightingale ${number}`;

const preset = JSON.parse(readFileSync(new URL('../../policies/presets/chat.json', import.meta.url)));
const [{ with: { rules: detectors } }] = preset.chain.filter(({ use }) => use === 'rules');

/** Terms of which none is found, and the detectors of the preset for chats, whatever the number of terms. */
export const rules = (terms) => [
  { use: 'rules', with: { rules: [{ id: 'terms', match: { terms: Array.from({ length: terms }, (_, number) => term(number)) } }, ...detectors] } },
];
