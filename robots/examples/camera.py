"""A camera elsewhere (phone, headset, glasses) whose JPEG pictures go to the runtime, newest first.

    otter-edge run --source bus --instruction "What should I do next?"
    python robots/examples/camera.py http://phone:8080/video          a phone that serves MJPEG
    ffmpeg -f v4l2 -i /dev/video0 -c:v mjpeg -f mjpeg - | python robots/examples/camera.py -

Any stream of bytes with whole JPEG pictures in it will do. A picture that the bus is too slow for
is dropped for a newer one. With `--key` it reaches a runtime on another machine.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import IO

from otter_robots.adapters.picture_size import picture_size
from otter_robots.adapters.pusher import Pusher, Shot
from otter_robots.client import Client
from otter_robots.errors import OtterError
from otter_robots.messages import Picture

BEGIN, END = b"\xff\xd8\xff", b"\xff\xd9"
LARGEST = 1 << 20  # the bus takes no larger picture


def pictures(stream: IO[bytes]) -> Iterator[bytes]:
    """Every JPEG file in `stream`, whatever stands between them."""
    held = b""
    while read := stream.read1(1 << 16):  # type: ignore[attr-defined]
        held += read
        while (begin := held.find(BEGIN)) >= 0 and (end := held.find(END, begin)) >= 0:
            yield held[begin : end + len(END)]
            held = held[end + len(END) :]
        held = held[-LARGEST:]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stream", help="an address that serves MJPEG, or - for standard input")
    parser.add_argument("--stream", dest="bus", help="the runtime's, e.g. tcp://jetson:5555")
    parser.add_argument("--requests", help="the runtime's, e.g. tcp://jetson:5556")
    parser.add_argument("--key", help="the .client file that `otter-edge keys make` wrote")
    parser.add_argument("--age-ms", type=float, default=0, help="how old its pictures arrive here")
    args = parser.parse_args()
    pusher = Pusher(partial(Client, args.bus, args.requests, "camera", args.key))
    try:
        source = sys.stdin.buffer if args.stream == "-" else urllib.request.urlopen(args.stream)
        for number, jpeg in enumerate(pictures(source)):
            if size := picture_size(jpeg):
                shot = Picture(
                    number=number,
                    width=size.width,
                    height=size.height,
                    encoding=size.encoding,
                    taken_ns=time.monotonic_ns(),
                    age_ms=args.age_ms,
                    source="phone",
                )
                pusher.push(Shot(shot, jpeg))
    except (OtterError, OSError, ValueError) as error:
        print(f"{args.stream}: {error}", file=sys.stderr)
        return 2
    finally:
        pusher.close()
        print(f"{pusher.pushed} pushed, {pusher.dropped} dropped, {pusher.refused} refused")
    return 0 if not pusher.error else 1


if __name__ == "__main__":
    sys.exit(main())
