/* An HTTP service: it greets whoever asks, and gives back what is posted to it.
 *
 * Build it with componentize-js for the world `service` that `coop wit` writes.
 */
import {
  Fields,
  IncomingBody,
  OutgoingBody,
  OutgoingResponse,
  ResponseOutparam,
} from "wasi:http/types@0.2.12";

const PIECE = 65536n;
const bytes = (text) => new TextEncoder().encode(text);

/* What the host calls for each request. */
export const incomingHandler = {
  handle(request, responseOut) {
    if (request.method().tag === "post") {
      echo(request, responseOut);
    } else if (request.pathWithQuery() === "/") {
      answer(responseOut, 200, (sink) => sink.blockingWriteAndFlush(bytes("hello\n")));
    } else {
      answer(responseOut, 404, (sink) => sink.blockingWriteAndFlush(bytes("nothing is here\n")));
    }
  },
};

/* Give back what is posted while it comes: no more than a piece of it is ever here. */
function echo(request, responseOut) {
  const body = request.consume();
  const source = body.stream();
  answer(responseOut, 200, (sink) => {
    try {
      for (;;) sink.blockingSplice(source, PIECE);
    } catch (error) {
      if (error.payload?.tag !== "closed") throw error; // closed: that was all of it
    }
  });
  source[Symbol.dispose](); // what was made of the body goes before it
  IncomingBody.finish(body);
}

/* Send a status, then the body that `write` writes. */
function answer(responseOut, status, write) {
  const response = new OutgoingResponse(Fields.fromList([["content-type", bytes("text/plain")]]));
  response.setStatusCode(status);
  const body = response.body();
  ResponseOutparam.set(responseOut, { tag: "ok", val: response });
  const sink = body.write();
  write(sink);
  sink[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
}
