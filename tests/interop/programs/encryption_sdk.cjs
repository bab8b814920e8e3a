// The AWS Encryption SDK for JavaScript, as a user of it would call it. Run by the Node.js of .venv-interop.
//
//   encryption_sdk.cjs encrypt KEY_ARN CONTEXT    standard input to standard output; the context is JSON
//   encryption_sdk.cjs decrypt KEY_ARN CONTEXT    the message's context must hold these pairs
//
// Endpoint and credential come from the environment, as for every AWS SDK.
"use strict";

const { readFileSync } = require("node:fs");
const { buildClient, CommitmentPolicy, KmsKeyringNode } = require("@aws-crypto/client-node");

async function main(action, key, context) {
  const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const source = readFileSync(0);
  const wanted = JSON.parse(context);
  if (action === "encrypt") {
    const keyring = new KmsKeyringNode({ generatorKeyId: key });
    const { result } = await client.encrypt(keyring, source, { encryptionContext: wanted });
    return result;
  }
  const keyring = new KmsKeyringNode({ keyIds: [key] });
  const { plaintext, messageHeader } = await client.decrypt(keyring, source);
  for (const [name, value] of Object.entries(wanted)) {
    if (messageHeader.encryptionContext[name] !== value) throw new Error("the message has another context");
  }
  return plaintext;
}

main(...process.argv.slice(2)).then(
  (result) => process.stdout.write(result),
  (error) => {
    process.stderr.write(`${error.name}: ${error.message}\n`);
    process.exitCode = 1;
  },
);
