# SPDX-License-Identifier: MIT
"""A backend for hooks, as an application would have one: it is asked over HTTP, and answers what a test says."""
import http.server
import json
import ssl
import threading


class Backend:
    """`answers` maps a hook's name to what it answers: a value as JSON, (status, value), bytes as they are, or a function
    of the question that returns one of these. `asked` has the questions in their order."""

    def __init__(self, port=0, tls=None, **answers):
        self.answers, self.asked, self.secrets, self.paths = answers, [], [], []
        self.lock = threading.Lock()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with backend.lock:
                    backend.asked.append(question)
                    backend.secrets.append(self.headers["Authorization"])
                    backend.paths.append(self.path)
                answer = backend.answers[question["hook"]]
                answer = answer(question) if callable(answer) else answer
                status, answer = answer if isinstance(answer, tuple) else (200, answer)
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    if 300 <= status < 400:
                        self.send_header("Location", f"http://127.0.0.1:{backend.port}/elsewhere")
                    if status != 204:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    if status != 204:
                        self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass

        self.server = Listener(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def of(self, hook):
        with self.lock:
            return [question for question in self.asked if question["hook"] == hook]

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
