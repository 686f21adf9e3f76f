// Generates the Go code of Annals' API from proto/, without protoc: the schemas are compiled by protocompile, and written by the
// plugins that go.mod names as tools.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// What the generated package is called by those who import it.
const importPath = "example.com/annals-example/gen/annals/v1;annalsv1"

func main() {
	schemas := flag.String("proto", "../../proto", "the folder of the schemas")
	out := flag.String("out", "gen", "where to write")
	flag.Parse()
	if err := generate(*schemas, *out); err != nil {
		log.Fatal(err)
	}
}

func generate(schemas, out string) error {
	paths, err := filepath.Glob(filepath.Join(schemas, "annals/v1/*.proto"))
	if err != nil {
		return err
	}
	var names, parameters []string
	for _, path := range paths {
		name := "annals/v1/" + filepath.Base(path)
		// What nodes say to each other is not for clients.
		if name != "annals/v1/peer.proto" {
			names = append(names, name)
			parameters = append(parameters, fmt.Sprintf("M%s=%s", name, importPath))
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no schemas in %s: name the folder proto/ of Annals with -proto", schemas)
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{schemas}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String(strings.Join(append(parameters, "paths=source_relative"), ",")),
		ProtoFile:      descriptors(files),
	}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := run(plugin, request, out); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// The files and what they import, each behind what it imports.
func descriptors(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(linker.File)
	add = func(file linker.File) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for i := range imports.Len() {
			if imported := file.FindImportByPath(imports.Get(i).Path()); imported != nil {
				add(imported)
			}
		}
		all = append(all, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range files {
		add(file)
	}
	return all
}

func run(plugin string, request *pluginpb.CodeGeneratorRequest, out string) error {
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.File {
		path := filepath.Join(out, file.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
