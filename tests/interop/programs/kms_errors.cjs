// How the AWS SDK for JavaScript maps the answers of a key service to its exception classes.
//
//   kms_errors.cjs < REQUESTS    a JSON list of [operation, input]; bytes in an input are {"base64": "..."}
//
// Prints a JSON list: for each request the exception's name, whether it is one of the SDK's classes, its status,
// message and request id; null where there was none.
"use strict";

const { readFileSync } = require("node:fs");
const kms = require("@aws-sdk/client-kms");

function revive(_, value) {
  return value !== null && typeof value === "object" && "base64" in value
    ? Buffer.from(value.base64, "base64")
    : value;
}

async function outcome(client, operation, input) {
  try {
    await client.send(new kms[`${operation}Command`](input));
    return null;
  } catch (error) {
    return {
      name: error.name,
      modelled: error.name in kms && error instanceof kms[error.name],
      status: error.$metadata?.httpStatusCode,
      message: error.message,
      requestId: error.$metadata?.requestId,
    };
  }
}

async function main() {
  const client = new kms.KMSClient({ maxAttempts: 1 });
  const outcomes = [];
  for (const [operation, input] of JSON.parse(readFileSync(0, "utf8"), revive)) {
    outcomes.push(await outcome(client, operation, input));
  }
  process.stdout.write(JSON.stringify(outcomes));
}

main();
