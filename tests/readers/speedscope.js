// SPDX-License-Identifier: Apache-2.0
// usage: node speedscope.js PROFILE...
//
// Prints a JSON list with an entry for each profile, as speedscope's own importer reads it:
//     {"alloc_objects": {"total": N, "unit": "none", "leaves": {"function": N, ...}}, ...}
// where a leaf is the innermost function of a stack; of inlined functions speedscope knows the outermost only.
// Ends with 1 where a profile cannot be read.
//
// speedscope shows one sample type, the default.  So each profile is given to it once for each type, which is made
// the default.  The importer is published within the bundle of its page, which here runs with a stand-in for
// a browser as far as the importer.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { gunzipSync, gzipSync } from 'node:zlib';

import { Profile } from 'pprof-format';

const release = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules/speedscope/dist/release');
const turnsMax = 1000;

// Something that may be called, constructed, or asked for anything, and gives the same again.
function standIn() {
  return new Proxy(function () {}, {
    get: (_target, key) => {
      if (key === Symbol.toPrimitive)
        return () => '';
      if (key === Symbol.iterator)
        return [][Symbol.iterator];
      return key === 'then' ? undefined : standIn();
    },
    set: () => true,
    apply: standIn,
    construct: standIn,
  });
}

function browser() {
  const window = { TextDecoder, TextEncoder, URL, atob, btoa, performance, setTimeout, clearTimeout };

  window.console = { log() {}, warn() {}, error: console.error };
  for (const name of ['document', 'navigator', 'localStorage', 'requestAnimationFrame', 'matchMedia',
    'addEventListener'])
    window[name] = standIn();
  window.location = { hash: '', protocol: 'file:', href: 'file:///' };
  window.window = window.self = window;
  return vm.createContext(window);
}

// The bundle names its parts by single letters, other ones in each version.  But it loads the importer as a
// module, by a promise: that is where the one with the function of the importer's source is seen.
const watch = `{
  const then = Promise.prototype.then;
  Promise.prototype.then = function (fulfilled, rejected) {
    return then.call(this, typeof fulfilled !== 'function' ? fulfilled : (value) => {
      const module = fulfilled(value);
      if (module && typeof module.importProfilesFromArrayBuffer === 'function')
        globalThis.importer = module;
      return module;
    }, rejected);
  };
}`;

async function loadImporter() {
  const bundle = readdirSync(release).find((name) => /^speedscope-.*\.js$/.test(name));
  const context = browser();
  let failure;

  vm.runInContext(watch, context);
  try {
    vm.runInContext(readFileSync(path.join(release, bundle), 'utf8'), context);
  } catch (error) {
    // Expected: at its end the bundle draws its page, and a stand-in is no page to draw on.
    failure = error;
  }
  for (let turn = 0; turn < turnsMax && context.importer === undefined; turn++)
    await new Promise((resolve) => { setImmediate(resolve); });
  if (context.importer === undefined)
    throw new Error(`${bundle} gives no importer: ${failure}`);
  return (name, data) => {
    const buffer = vm.runInContext(`new ArrayBuffer(${data.length})`, context);

    new Uint8Array(buffer).set(data);
    return context.importer.importProfilesFromArrayBuffer(name, buffer);
  };
}

// The profile with another default.
function withDefault(data, type) {
  const profile = Profile.decode(data);

  profile.defaultSampleType = type;
  return gzipSync(profile.encode());
}

async function readType(importProfile, file, data) {
  const group = await importProfile(file, data);

  if (group === null || group.profiles.length !== 1)
    throw new Error(`${file}: speedscope does not take it`);
  const [profile] = group.profiles;
  const leaves = {};

  profile.forEachFrame((frame) => {
    if (frame.getSelfWeight() !== 0)
      leaves[frame.name] = (leaves[frame.name] ?? 0) + frame.getSelfWeight();
  });
  return { total: profile.getTotalWeight(), unit: profile.getWeightUnit(), leaves };
}

const importProfile = await loadImporter();
const answers = [];

for (const file of process.argv.slice(2)) {
  const packed = readFileSync(file);
  const data = gunzipSync(packed);
  const { sampleType, stringTable, defaultSampleType } = Profile.decode(data);
  const answer = {};

  for (const { type } of sampleType) {
    // The default as it is in the file: nothing of ours has been at it.
    const isDefault = BigInt(type) === BigInt(defaultSampleType);

    answer[stringTable.strings[Number(type)]] =
      await readType(importProfile, file, isDefault ? packed : withDefault(data, type));
  }
  answers.push(answer);
}
console.log(JSON.stringify(answers));
