/** Advice in errors about a file of this package that its modules did not find. */
export const CURE =
  "the bundler must keep this package's modules beside its files; in Vite's configuration, set optimizeDeps: { exclude: ['lfm2-wgpu'] }";

/**
 * The folder of this package's files on Vite's development server, which by default serves the modules from
 * `node_modules/.vite/deps`. Undefined elsewhere: there the files are beside the modules, or a bundler has
 * rewritten their URLs.
 */
export function packageFolder(): URL | undefined {
  const modules = /^(.*\/node_modules)\/\.vite\/(?:[^?#]*\/)?deps\//.exec(import.meta.url)?.[1];
  return modules === undefined ? undefined : new URL(`${modules}/lfm2-wgpu/dist/`);
}
