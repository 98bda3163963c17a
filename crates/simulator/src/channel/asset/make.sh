#!/bin/sh
# Makes the two titles of the simulated channel: 8 s each, four segments of 2 s, picture and sound apart. The programme
# is encrypted with the simulator's first ClearKey key (`src/demo/asset/make.sh` says which), the slate is in clear.
# Needs ffmpeg, perl, and shaka-packager 3.4.2 (`npm ci` in tests/players brings it; PACKAGER names another one): ffmpeg 5.1
# can encrypt, but leaves out what each fragment needs to be decrypted (`senc`). The files beside this script are its output.
set -eu
cd "$(dirname "$0")"
PACKAGER=${PACKAGER:-../../../../tests/players/node_modules/shaka-packager/bin/packager-linux-x64}
KEY=key_id=00112233445566778899aabbccddeeff:key=000102030405060708090a0b0c0d0e0f

make() { # title, picture, tone
    ffmpeg -v error -y -f lavfi -i "$2" -t 8 -c:v libx264 -profile:v main -preset veryslow -crf 36 -g 50 -keyint_min 50 \
        -sc_threshold 0 -pix_fmt yuv420p -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 \
        -hls_flags single_file -f hls "$1-v.m3u8"
    ffmpeg -v error -y -f lavfi -i "sine=frequency=$3:sample_rate=44100" -t 7.96 -c:a aac -b:a 24k -ac 1 -hls_time 2 \
        -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags single_file -f hls "$1-a.m3u8"
    mv "$1-v.m4s" "$1-v.mp4"
    mv "$1-a.m4s" "$1-a.mp4"
}

encrypt() { # title
    for track in v=video a=audio; do
        name=$1-${track%=*}
        "$PACKAGER" "in=$name.mp4,stream=${track#*=},output=new.mp4,playlist_name=$name.m3u8" --quiet \
            --enable_raw_key_encryption --protection_scheme cenc --protection_systems Common --clear_lead 0 \
            --segment_duration 2 --keys "label=:$KEY" --hls_master_playlist_output main.m3u8
        mv new.mp4 "$name.mp4"
        # hls.js asks for ClearKey licenses under this key format. Each range is to say where it begins.
        perl -pi -e 's/KEYFORMAT="identity"/KEYFORMAT="org.w3.clearkey"/;
            if (/^#EXT-X-BYTERANGE:(\d+)(?:\@(\d+))?/) { $at = $2 // $at; $_ = "#EXT-X-BYTERANGE:$1\@$at\n"; $at += $1 }' "$name.m3u8"
    done
    rm main.m3u8
}

make programme "testsrc=s=320x180:r=25" 440
encrypt programme
make slate "color=c=0x203050:s=320x180:r=25,drawbox=x='mod(t*40\\,320)':y=80:w=20:h=20:color=white:t=fill" 220
