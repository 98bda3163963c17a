// The players, each with the files that its page loads. Those of a major version before, which still have viewers, are
// tried with the whole matrix only.
import {readFileSync} from 'node:fs';
import path from 'node:path';

const here = import.meta.dirname;

const SHAKA = {page: 'shaka.html', content: 'one', first: /^6007$/, renewal: 'error'};
const DASHJS = {page: 'dashjs.html', content: 'one', first: /^114$/, renewal: 'error'};
const HLSJS = {page: 'hlsjs.html', content: 'one', first: /^keySystemLicenseRequestFailed$/};
const VIDEOJS = {page: 'videojs.html', content: 'one', first: /^5$/, renewal: 'error'};
const RX = {page: 'rx-player.html', content: 'one', first: /^KEY_LOAD_ERROR$/, renewal: 'error'};

const shaka = name => [`/lib/${name}/dist/shaka-player.compiled.js`];
const videojs = (name, eme) => [`/lib/${name}/dist/video.min.js`, `/lib/${eme}/dist/videojs-contrib-eme.min.js`];

/**
 * `renewal`: what becomes of a refused renewal (`error`, `stall`, or `nothing`: it plays on); `first`: the error of a refused
 * first license; `variant`: another use of a player that stands in the list already.
 */
export const PLAYERS = [
  {...SHAKA, id: 'shaka', name: 'Shaka Player', packages: ['shaka-player'], scripts: shaka('shaka-player')},
  {...SHAKA, id: 'shaka-two', name: 'Shaka Player, two keys', packages: ['shaka-player'], scripts: shaka('shaka-player'), content: 'two', keys: 2, variant: true, first: /^(6007|4012)$/},
  {...DASHJS, id: 'dashjs', name: 'dash.js', packages: ['dashjs'], scripts: ['/lib/dashjs/dist/modern/umd/dash.all.min.js']},
  {...HLSJS, id: 'hlsjs', name: 'hls.js', packages: ['hls.js'], scripts: ['/lib/hls.js/dist/hls.min.js'], renewal: 'stall'},
  {...HLSJS, id: 'hlsjs-again', name: 'hls.js, begun anew', packages: ['hls.js'], query: {asks: 'again'}, variant: true, scripts: ['/lib/hls.js/dist/hls.min.js'], renewal: 'error'},
  {...VIDEOJS, id: 'videojs', name: 'video.js + contrib-eme', packages: ['video.js', 'videojs-contrib-eme'], scripts: videojs('video.js', 'videojs-contrib-eme')},
  {...RX, id: 'rx', name: 'rx-player', packages: ['rx-player'], scripts: ['/made/rx-player.js']},
];

/** hls.js has counted by minor versions since 2020. */
export const PREVIOUS = [
  {...SHAKA, id: 'shaka-4', name: 'Shaka Player 4', packages: ['shaka-player-4'], scripts: shaka('shaka-player-4')},
  {...DASHJS, id: 'dashjs-4', name: 'dash.js 4', packages: ['dashjs-4'], scripts: ['/lib/dashjs-4/dist/dash.all.min.js']},
  {...HLSJS, id: 'hlsjs-1.6', name: 'hls.js 1.6', packages: ['hls.js-1.6'], scripts: ['/lib/hls.js-1.6/dist/hls.min.js'], renewal: 'error'},
  {...VIDEOJS, id: 'videojs-7', name: 'video.js 7 + contrib-eme 3', packages: ['video.js-7', 'videojs-contrib-eme-3'], scripts: videojs('video.js-7', 'videojs-contrib-eme-3'), renewal: 'nothing'},
  {...VIDEOJS, id: 'videojs-7-eme-5', name: 'video.js 7 + contrib-eme 5', packages: ['video.js-7', 'videojs-contrib-eme'], scripts: videojs('video.js-7', 'videojs-contrib-eme')},
  {...RX, id: 'rx-3', name: 'rx-player 3', packages: ['rx-player-3'], scripts: ['/lib/rx-player-3/dist/rx-player.min.js']},
];

export const pageUrl = (player, files, query) => {
  const words = new URLSearchParams({content: player.content, ...player.query, ...query});
  for (const script of player.scripts) words.append('script', script);
  return `${files.origin}/pages/${player.page}?${words}`;
};

/** Of the packages as they are installed, each once. */
export function versions(players) {
  const names = [...new Set(players.flatMap(({packages}) => packages))];
  return names.map(name => JSON.parse(readFileSync(path.join(here, 'node_modules', name, 'package.json')))).map(({name, version}) => `${name} ${version}`);
}
