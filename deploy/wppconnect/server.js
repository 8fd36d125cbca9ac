// Starts the server with what the console needs of it, and its secret from a file.
const fs = require("fs");
const { initServer } = require("@wppconnect/server");

initServer({
  secretKey: fs.readFileSync(process.env.SECRET_KEY_FILE, "utf8").trim(),
  host: "http://0.0.0.0",
  port: "21465",
  deviceName: "Plushify",
  // After a restart the console brings its sessions back itself, in waves.
  startAllSession: false,
  tokenStoreType: "file",
  customUserDataDir: "/data/userDataDir/",
  webhook: {
    url: null,
    autoDownload: true,
    readMessage: false,
    listenAcks: true,
    onSelfMessage: true,
    allUnreadOnStart: false,
  },
  // At "info" it writes its options, the secret among them, into its log.
  log: { level: "warn", logger: ["console"] },
  createOptions: {
    executablePath: "/usr/bin/chromium-browser",
    browserArgs: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run"],
  },
});
