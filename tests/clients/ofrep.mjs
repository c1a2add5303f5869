// The OpenFeature server and web SDKs with their OFREP providers, unmodified, against a node.
// Usage: node ofrep.mjs BASE_URL API_KEY   (run where the packages are installed)
import { isDeepStrictEqual } from 'node:util';
import { OpenFeature as Server } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature as Web } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { EventSource } from 'eventsource';

const [baseUrl, key] = process.argv.slice(2);
let passed = 0;
let failed = 0;
function check(what, found, expected) {
  if (isDeepStrictEqual(found, expected)) passed += 1;
  else {
    failed += 1;
    console.log(`${what}:`, found, 'expected', expected);
  }
}
const shape = ({ value, reason, variant }) => ({ value, reason, variant });
const headers = [['Authorization', `Bearer ${key}`]];

await Server.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
const server = Server.getClient();
const german = { targetingKey: 'user-1', country: 'DE' };
check('bool', shape(await server.getBooleanDetails('static-bool', false)), { value: true, reason: 'STATIC', variant: 'on' });
check('targeting', shape(await server.getStringDetails('greeting', '', german)), { value: 'Good day', reason: 'TARGETING_MATCH', variant: 'formal' });
check('number', (await server.getNumberDetails('limit', 0)).value, 10);
check('object', (await server.getObjectDetails('layout', {})).value, { columns: 2, dark: true });
check('not found', (await server.getBooleanDetails('no-such-flag', false)).errorCode, 'FLAG_NOT_FOUND');
const disabled = await server.getBooleanDetails('disabled', false);
check('disabled', disabled.value, false);

// The web provider fetches all flags at once, asks again with If-None-Match, and sees a change.
const answers = [];
const fetchImplementation = async (...args) => {
  const answer = await fetch(...args);
  answers.push(answer.status);
  return answer;
};
await Web.setContext(german);
await Web.setProviderAndWait(new OFREPWebProvider({ baseUrl, headers, pollInterval: 50, fetchImplementation }));
const web = Web.getClient();
check('web bool', web.getBooleanValue('static-bool', false), true);
check('web targeting', web.getStringValue('greeting', ''), 'Good day');
check('web object', web.getObjectValue('layout', {}), { columns: 2, dark: true });
check('web disabled', web.getBooleanValue('disabled', false), false);
const current = await (await fetch(`${baseUrl}/v1/objects/flag/retries`, { headers })).json();
const retries = current.body ?? current;
const before = retries.defaultVariant;
const initial = retries.variants[before];
await until(() => answers.includes(304));
check('unchanged flags are not sent again', answers.includes(304), true);

await setRetries('many', web);
check('web sees the change', web.getNumberValue('retries', 0), 30);
await Web.setContext({ targetingKey: 'user-1', country: 'FR' });
check('web context', web.getStringValue('greeting', ''), 'Hi');

// The web provider over the event stream, without polling; browsers have EventSource, Node has a package.
globalThis.EventSource = EventSource;
const asked = answers.length;
await Web.setProviderAndWait('events', new OFREPWebProvider({ baseUrl, headers, cacheMode: 'disabled', fetchImplementation }));
const listening = Web.getClient('events');
check('events first', listening.getNumberValue('retries', 0), 30);
await setRetries(before, listening);
// The first event may be about the change before, which the client knows already.
await until(() => listening.getNumberValue('retries', 0) === initial);
check('events tell the change', listening.getNumberValue('retries', 0), initial);
check('events need no polling', answers.length - asked <= 6, true);

// Puts the flag's default, and waits until a client has seen it.
async function setRetries(variant, client) {
  const changed = new Promise((resolve) => client.addHandler('PROVIDER_CONFIGURATION_CHANGED', resolve));
  const body = { ...retries, defaultVariant: variant };
  const put = await fetch(`${baseUrl}/v1/changes`, {
    method: 'POST',
    headers: [...headers, ['Content-Type', 'application/json']],
    body: JSON.stringify({ request_id: `web-${process.pid}-${Math.random()}`, why: 'client test', changes: [{ kind: 'flag', name: 'retries', op: 'put', body }] }),
  });
  check('change accepted', put.status, 200);
  await Promise.race([changed, new Promise((_, reject) => setTimeout(() => reject(new Error('no change seen')), 10000))]);
}

async function until(holds) {
  for (let turn = 0; turn < 200 && !holds(); turn += 1) await new Promise((resolve) => setTimeout(resolve, 50));
}
console.log(`@openfeature providers: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
