#!/usr/bin/python3
"""badmap.py PATH MODE WAY: in place of bsmtp-milter's socketmap, a server that is no good.

WAY: garbage (no netstring), half (ends its direction after the question), cut (closes in mid-answer), huge (announces
more than it sends), silent, temp, perm, strange (a netstring that is no answer). MODE: of the socket, octal.
"""
import os
import socket
import sys
import threading
import time

ANSWERS = {"garbage": b"220 hello\r\n", "cut": b"40:OK bsmtp-o", "huge": b"999999999999:OK x,", "temp": b"10:TEMP later,",
           "perm": b"8:PERM no!,", "strange": b"12:MAYBE hello!,"}


def serve(connection, way):
    with connection:
        while connection.recv(4096):
            if way == "silent":
                time.sleep(3600)
            elif way == "half":
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.sendall(ANSWERS[way])
                if way == "cut":
                    return


def main():
    path, mode, way = sys.argv[1:]
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, int(mode, 8))
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, way), daemon=True).start()


main()
