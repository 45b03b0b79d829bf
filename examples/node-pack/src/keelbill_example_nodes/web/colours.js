// Shows how a pack adds to the graph editor: its nodes get a colour of their own.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "keelbill.example.colours",
  nodeCreated(node) {
    if (String(node.comfyClass).startsWith("Example ")) {
      node.color = "#1d4648";
      node.bgcolor = "#123133";
    }
  },
});
