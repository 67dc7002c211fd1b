// SPDX-License-Identifier: Apache-2.0
// usage: node totals.js PROFILE...
//
// Prints a JSON list with an entry for each profile:
//     {"types": ["alloc_objects", ...], "totals": [N, ...], "leaves": {"function": [N, ...], ...}}
// where a leaf is the innermost function of a stack.  Ends with 1 where a profile cannot be read.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

import { Profile } from 'pprof-format';

const noFunction = '(none)';

function innermostFunction(profile, locations, functions, sample) {
  const location = locations.get(BigInt(sample.locationId[0] ?? 0));
  const line = location?.line[0];

  if (line === undefined)
    return noFunction;
  const name = functions.get(BigInt(line.functionId))?.name;

  if (name === undefined)
    throw new Error(`function ${line.functionId} is not there`);
  return profile.stringTable.strings[Number(name)];
}

function byId(messages) {
  return new Map(messages.map((message) => [BigInt(message.id), message]));
}

function totals(path) {
  const profile = Profile.decode(gunzipSync(readFileSync(path)));
  const types = profile.sampleType.map((type) => profile.stringTable.strings[Number(type.type)]);
  const locations = byId(profile.location);
  const functions = byId(profile.function);
  const sum = types.map(() => 0n);
  const leaves = new Map();

  for (const sample of profile.sample) {
    if (sample.value.length !== types.length)
      throw new Error(`${path}: a sample of ${sample.value.length} values for ${types.length} types`);
    const name = innermostFunction(profile, locations, functions, sample);
    const leaf = leaves.get(name) ?? types.map(() => 0n);

    sample.value.forEach((value, index) => {
      sum[index] += BigInt(value);
      leaf[index] += BigInt(value);
    });
    leaves.set(name, leaf);
  }
  return { types, totals: sum, leaves: Object.fromEntries(leaves) };
}

// A sum past 2^53 would be rounded as a number; none of what is read here comes near.
const asNumber = (key, value) => (typeof value === 'bigint' ? Number(value) : value);

console.log(JSON.stringify(process.argv.slice(2).map(totals), asNumber));
