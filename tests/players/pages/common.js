// What every page here shares with a page of a real service: where the license URL and the token come
// from, a line that shows an error to the viewer, and one line that says that the page is gone. With
// `reports` in its URL the page does not say so: its player reports to sidebeat every so many seconds. With
// `beacon=no` nobody says anything.
const query = new URLSearchParams(location.search);
// The player's own files, of the version that is tried.
for (const script of query.getAll('script')) document.write(`<script src="${script}"></script>`);
const license = query.get('license'), token = query.get('token'), content = query.get('content');
const headers = {'nv-authorizations': token};
const manifest = name => new URL(`${content}/${name}`, location.origin + '/').href;

const whose = new URLSearchParams({token, device: query.get('device')});
const reportUrl = `${license}/~report?${whose}`, reportEvery = Number(query.get('reports'));
if (!reportEvery && query.get('beacon') !== 'no') addEventListener('pagehide', () => navigator.sendBeacon(`${license}/~stop?${whose}`));

window.errors = [];
function show(code, text, status, body) {
  window.errors.push({at: performance.now(), code: String(code), text: String(text ?? ''), status: status ?? null, body: asText(body)});
  document.getElementById('error').textContent = words(asText(body)) ?? `${code} ${text ?? ''}`;
}

// What a problem (RFC 9457) says to the viewer, where the player hands its body on.
function words(body) {
  try {
    const {detail, incident} = JSON.parse(body);
    return detail ? `${detail} (${incident})` : null;
  } catch {
    return null;
  }
}

function asText(body) {
  if (body === null || body === undefined) return null;
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new TextDecoder().decode(body);
  return typeof body === 'string' ? body : JSON.stringify(body);
}
