#!/bin/sh
# Makes the two titles of the simulated channel: 8 s each, four segments of 2 s, picture and sound apart, in clear.
# Needs ffmpeg. The files beside this script are its output.
set -eu
make() { # title, picture, tone
    ffmpeg -v error -y -f lavfi -i "$2" -t 8 -c:v libx264 -profile:v main -preset veryslow -crf 36 -g 50 -keyint_min 50 \
        -sc_threshold 0 -pix_fmt yuv420p -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 \
        -hls_flags single_file -f hls "$1-v.m3u8"
    ffmpeg -v error -y -f lavfi -i "sine=frequency=$3:sample_rate=44100" -t 7.96 -c:a aac -b:a 24k -ac 1 -hls_time 2 \
        -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags single_file -f hls "$1-a.m3u8"
    mv "$1-v.m4s" "$1-v.mp4"
    mv "$1-a.m4s" "$1-a.mp4"
}
make programme "testsrc=s=320x180:r=25" 440
make slate "color=c=0x203050:s=320x180:r=25,drawbox=x='mod(t*40\\,320)':y=80:w=20:h=20:color=white:t=fill" 220
