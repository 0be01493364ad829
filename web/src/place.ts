/** What errors say about a file of this package that is not where its modules look for it. */
export const CURE =
  "a bundler that moves this package's modules has to leave them beside its files, Vite by optimizeDeps: { exclude: ['lfm2-wgpu'] } in its configuration";

/**
 * The folder of this package's files on Vite's development server, which serves its modules from
 * `node_modules/.vite/deps` unless it is told not to. Undefined elsewhere: there the files are beside
 * the modules, or a bundler has rewritten the addresses that it found in them.
 */
export function packageFolder(): URL | undefined {
  const modules = /^(.*\/node_modules)\/\.vite\/(?:[^?#]*\/)?deps\//.exec(import.meta.url)?.[1];
  return modules === undefined ? undefined : new URL(`${modules}/lfm2-wgpu/dist/`);
}
