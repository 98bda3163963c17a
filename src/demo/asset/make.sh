#!/usr/bin/env bash
# Makes the demo asset beside this script: 12 s of video and audio, encrypted with one ClearKey key.
#
#   src/demo/asset/make.sh            the files that the binary embeds
#   src/demo/asset/make.sh --test DIR [SECONDS]
#                                     the same picture for the player tests: DIR/one and, with a key
#                                     of its own for the audio, DIR/two
#
# Needs ffmpeg with libx264 and drawtext, the font DejaVu Sans Mono, perl, and shaka-packager 3.4.2
# (`npm ci` in tests/players brings it; PACKAGER names another one). Installs nothing.
#
# The keys are public on purpose. The head-end simulator knows both:
#   00112233445566778899aabbccddeeff  000102030405060708090a0b0c0d0e0f   everything in one/, video in two/
#   ffeeddccbbaa99887766554433221100  0f0e0d0c0b0a09080706050403020100   audio in two/
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

packager() {
  local system machine
  case $(uname -s) in Darwin) system=osx ;; *) system=linux ;; esac
  case $(uname -m) in arm64 | aarch64) machine=arm64 ;; *) machine=x64 ;; esac
  echo "$root/tests/players/node_modules/shaka-packager/bin/packager-$system-$machine"
}
PACKAGER=${PACKAGER:-$(packager)}

need() { command -v "$1" >/dev/null || { echo "make.sh: needs $1${2:+ ($2)}" >&2; exit 1; }; }
need ffmpeg 'apt install ffmpeg'
need perl
need "$PACKAGER" 'npm ci in tests/players'
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf}
[ -r "$font" ] || { echo "make.sh: needs the font $font (apt install fonts-dejavu-core, or set FONT)" >&2; exit 1; }

# A clock, the name, a dot that crosses the picture once a second, and a double thump on each second.
draw() { # SECONDS FILE
  local text="drawtext=fontfile=$font:fontcolor=0xe8edf2"
  ffmpeg -v error -y \
    -f lavfi -i "color=c=0x10202e:s=640x360:r=25:d=$1" \
    -f lavfi -i "color=c=0xff6b5e:s=28x28:r=25:d=$1" \
    -f lavfi -i "aevalsrc='0.5*sin(2*PI*70*t)*(exp(-28*mod(t,1))+0.7*gte(mod(t,1),0.22)*exp(-28*(mod(t,1)-0.22)))':s=44100:d=$1" \
    -filter_complex "[0][1]overlay=x='(W-w)*mod(t\,1)':y=286,$text:fontsize=64:x=(w-tw)/2:y=60:text=sidebeat,$text:fontsize=54:x=(w-tw)/2:y=170:text='%{pts\\:hms}'[v]" \
    -map '[v]' -map 2:a \
    -c:v libx264 -profile:v main -preset veryslow -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -bf 2 -crf 30 \
    -c:a aac -b:a 32k -ac 1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1 "$2"
}

K1=key_id=00112233445566778899aabbccddeeff:key=000102030405060708090a0b0c0d0e0f
K2=key_id=ffeeddccbbaa99887766554433221100:key=0f0e0d0c0b0a09080706050403020100

pack() { # ARGUMENTS: the packager with what both variants share
  "$PACKAGER" "$@" --quiet --enable_raw_key_encryption --protection_scheme cenc --protection_systems Common \
    --clear_lead 0 --segment_duration 2
}

one() { # CLEAR DIR: v.mp4 a.mp4 manifest.mpd ck.mpd main.m3u8 v.m3u8 a.m3u8
  mkdir -p "$2"
  pack "in=$1,stream=video,output=$2/v.mp4,playlist_name=v.m3u8" "in=$1,stream=audio,output=$2/a.mp4,playlist_name=a.m3u8" \
    --keys "label=:$K1" --mpd_output "$2/manifest.mpd" --hls_master_playlist_output "$2/main.m3u8"
  # dash.js knows ClearKey by its own scheme only.
  perl -0pe 's#<ContentProtection schemeIdUri="urn:uuid:1077efec[^>]*>.*?</ContentProtection>#<ContentProtection schemeIdUri="urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e" value="ClearKey1.0"/>#sg' \
    "$2/manifest.mpd" >"$2/ck.mpd"
  # hls.js asks for ClearKey licenses under this key format.
  perl -pi -e 's/KEYFORMAT="identity"/KEYFORMAT="org.w3.clearkey"/' "$2/v.m3u8" "$2/a.m3u8"
}

two() { # CLEAR DIR: v.mp4 a.mp4 manifest.mpd
  mkdir -p "$2"
  pack "in=$1,stream=video,output=$2/v.mp4,drm_label=V" "in=$1,stream=audio,output=$2/a.mp4,drm_label=A" \
    --keys "label=V:$K1,label=A:$K2" --mpd_output "$2/manifest.mpd"
  # The packager writes one pssh with both key ids; each track gets its own, so a player makes two key sessions.
  perl -0pi -e 'my @p=("AAAANHBzc2gBAAAAEHfv7MCyTQKs4zweUuL7SwAAAAEAESIzRFVmd4iZqrvM3e7/AAAAAA==","AAAANHBzc2gBAAAAEHfv7MCyTQKs4zweUuL7SwAAAAH/7t3Mu6qZiHdmVUQzIhEAAAAAAA=="); my $i=0; s#(<cenc:pssh>)[^<]*#$1.$p[$i++]#ge' \
    "$2/manifest.mpd"
}

if [ "${1:-}" = --test ]; then
  draw "${3:-24}" "$work/clear.mp4"
  one "$work/clear.mp4" "$2/one"
  two "$work/clear.mp4" "$2/two"
else
  draw 12 "$work/clear.mp4"
  one "$work/clear.mp4" "$here"
  du -ch "$here"/*.mp4 "$here"/*.mpd "$here"/*.m3u8
fi
