// The calls that reached the head-end, as its own log tells them.
import {pause} from './http.mjs';

/** Follows the log; `until` resolves to the first call that fits, with the local time of its arrival. */
export function follow(headend) {
  const calls = [];
  let since = 0;
  async function more(wait) {
    const news = (await headend.log(since, wait)).filter(call => call.seq > since);
    const at = performance.now();
    for (const call of news) calls.push({...call, at});
    since = calls.at(-1)?.seq ?? since;
  }
  return {
    calls,
    more,
    /** The newest call by now. */
    async now() {
      await more(0);
      return calls.at(-1) ?? {seq: 0};
    },
    of: (device, endpoint) => calls.filter(call => call.device === device && (!endpoint || call.endpoint === endpoint)),
    async until(fits, timeout) {
      for (const end = performance.now() + timeout; ;) {
        const found = calls.find(fits);
        if (found) return found;
        const left = end - performance.now();
        if (left <= 0) return null;
        const before = calls.length;
        await more(Math.min(1000, Math.ceil(left)));
        if (calls.length === before) await pause(5);
      }
    },
  };
}

/** First beat and the gaps between beats, in ms after the call before. */
export function gaps(calls) {
  const beats = calls.filter(call => ['setup', 'heartbeat'].includes(call.endpoint));
  return beats.slice(1).map((beat, i) => beat.ms - beats[i].ms);
}
