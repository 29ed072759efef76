// Node's own http server.
const body = Buffer.from("hello world\n");
require("http")
  .createServer({ keepAliveTimeout: 75000 }, (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": body.length });
    response.end(body);
  })
  .listen(Number(process.argv[2]), "127.0.0.1", 1024);
