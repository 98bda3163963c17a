//! `sidebeat demo`: runs everything on one machine.
//!
//! The real proxy stands before the real head-end simulator, which also serves the page and the encrypted asset. Only
//! `--check` adds a scripted player.

mod scripted_player;
mod stage;

use self::stage::DemoStage;
use crate::app;
use crate::config::ConfigFaults;
use crate::headend::BindFault;

#[derive(Debug, thiserror::Error)]
pub enum DemoFault {
    #[error(transparent)]
    App(#[from] app::AppFault),
    #[error("the demo's own configuration is faulty:\n{0}")]
    Config(ConfigFaults),
    #[error(transparent)]
    Headend(#[from] BindFault),
    #[error("no free port: {0}")]
    Port(std::io::Error),
    #[error("{step}: {what}")]
    Story { step: &'static str, what: String },
}

/// Serves the page until interrupted.
pub async fn show(say: impl Fn(&str)) -> Result<(), DemoFault> {
    // Slow enough to watch, fast enough not to wait.
    let stage = DemoStage::build(3.0).await?;
    say(&format!(
        "\n  open      {}/demo/\n  sessions  {}/\n  books     {}/sim/books\n\n  Ctrl-C ends it.\n\n",
        stage.headend, stage.admin, stage.headend
    ));
    stage.run(std::future::pending::<()>()).await?;
    Ok(())
}

/// Plays a session from license to teardown without a browser and prints its timeline.
pub async fn check(say: impl Fn(&str)) -> Result<(), DemoFault> {
    let stage = DemoStage::build(1.0).await?;
    let story = scripted_player::DemoStory::new(&stage, &say);
    Box::pin(stage.run(story.tell())).await?.unwrap_or(Ok(()))
}
