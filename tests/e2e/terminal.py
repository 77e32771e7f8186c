"""A command on a terminal, of which the tests see what it writes."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time


class Terminal:
    """A process whose standard streams are a terminal of so many columns."""

    def __init__(self, command, columns=80, **env):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        variables = {**os.environ, "TERM": "xterm-256color", **env}
        # A terminal's processes hear Ctrl-C, even if those that run in the background here are to ignore it.
        command = ["env", "--default-signal=INT", *command]
        self.process = subprocess.Popen(command, start_new_session=True, env=variables, **streams)
        os.close(theirs)
        self._ours = ours
        self.written = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with open(self._ours, "rb", buffering=0, closefd=False) as stream:
            while True:
                try:
                    data = stream.read(65536)
                except OSError:  # nobody has the other end any more
                    return
                if not data:
                    return
                self.written += data.decode(errors="replace")

    def wait_for(self, text, seconds=90):
        deadline = time.monotonic() + seconds
        while text not in self.written:
            assert time.monotonic() < deadline, f"{text!r} was not written:\n{self.written}"
            assert self.process.poll() is None or text in self.written, self.written
            time.sleep(0.05)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def type(self, text):
        os.write(self._ours, text.encode())

    def end(self, seconds=120):
        """Wait for the end, and return the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join()
        os.close(self._ours)
        return code
