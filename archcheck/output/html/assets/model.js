// The tree of calls of one target. A node is named by its way from the root: "2.0.1" is the second
// node in the first of the third. Equal bodies are one, so a way is what tells two nodes apart.

class Model {
  constructor(data) {
    this.data = data;
    this.root = data.bodies[data.root];
    for (const body of data.bodies) {
      for (const node of body.nodes) {
        node.inputs ??= [];
        node.outputs ??= [];
      }
    }
  }

  bodyOf(node) {
    return node.body === undefined ? null : this.data.bodies[node.body];
  }

  // The nodes on a way, from the one in the root's body to the one that it names.
  along(way) {
    const nodes = [];
    let body = this.root;
    for (const step of way ? way.split(".") : []) {
      const node = body?.nodes[Number(step)];
      if (!node) return [];
      nodes.push(node);
      body = this.bodyOf(node);
    }
    return nodes;
  }

  nodeAt(way) {
    return this.along(way).at(-1) ?? null;
  }

  // The path in `named_modules()` of the layer that a way leads to, or of the one it ends in.
  pathOf(way) {
    return this.along(way).reduce((path, node) => this.pathBelow(path, node), "");
  }

  pathBelow(path, node) {
    if (node.kind !== "layer") return path;
    return node.absolute || !path ? node.name : `${path}.${node.name}`;
  }

  // All nodes in order, each with its way and its path, until the visitor returns true.
  walk(visit, body = this.root, way = "", path = "") {
    return body.nodes.some((node, step) => {
      const here = way ? `${way}.${step}` : String(step);
      const named = this.pathBelow(path, node);
      if (visit(node, here, named)) return true;
      const below = this.bodyOf(node);
      return below !== null && this.walk(visit, below, here, named);
    });
  }

  // The way to the first call of the layer with this path.
  wayTo(path) {
    let found = null;
    this.walk((node, way, named) => {
      if (node.kind === "layer" && named === path) found = way;
      return found !== null;
    });
    return found;
  }
}

const parentOf = (way) => way.slice(0, Math.max(way.lastIndexOf("."), 0));
const wayBelow = (way, step) => (way ? `${way}.${step}` : String(step));
