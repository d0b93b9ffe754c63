"""An RTSP server of noise, for the system's Python: `rtsp_process.py PORT`; says when it listens.

It needs python3-gi and gir1.2-gst-rtsp-server-1.0, and imports nothing of ours.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = (
    "( videotestsrc is-live=true pattern=snow "
    "! video/x-raw,format=I420,width=64,height=48,framerate=10/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(PICTURES)
factory.set_shared(True)
server.get_mount_points().add_factory("/eye", factory)
server.attach(None)
print("listening", flush=True)
GLib.MainLoop().run()
