// Audits the server at the address given, and prints the findings as JSON.
import { auditServer } from "graphql-http";

const findings = await auditServer({ url: process.argv[2] });
console.log(JSON.stringify(findings.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
